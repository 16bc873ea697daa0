//! User 42 rates movie 1 and takes the rating away: `cargo run --bin rate -- [USER]`.

use std::error::Error;
use std::time::Duration;

use natter_client::session::{
    BrokerOptions, ErrorName, MovieId, RatingReply, Session, SessionError, SessionOptions, Settings, Stars, Update,
    UserId,
};

/// Prints an answer or an error. Errors that a retry may mend never come here: the session has retried for a minute.
fn show(operation: &str, answer: Result<RatingReply, SessionError>) -> Result<(), SessionError> {
    match answer {
        Ok(reply) => println!("{operation} {}", reply.value.rating.map(|stars| stars.to_string()).unwrap_or_default()),
        Err(error) if error.name == ErrorName::RatingExists => println!("{operation} {}: {}", error.name, error.text),
        Err(error) => return Err(error), // where it leaves an update in doubt, `error.doubtful` is the id for a retry
    }
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let user_id = UserId::new(std::env::args().nth(1).map_or(Ok(42), |user| user.parse())?)?;
    let (movie_id, rating) = (MovieId::new(1)?, Stars::try_from(4.5)?);
    let broker = BrokerOptions { server: std::env::var("NATS_URL").ok(), ..BrokerOptions::default() };
    let notify = |news: &str| eprintln!("{news}"); // trap: without it, nothing tells why a call takes long
    let settings = Settings { patience: Duration::from_secs(60), notify, ..Settings::default() };
    let mut session = Session::connect_with(SessionOptions { broker, settings, ..SessionOptions::default() }).await?;
    let first = session.new_update_id();
    for id in [first, first, session.new_update_id()] {
        // The second one is a retry: it has the answer of the first.
        show("create", session.write(Update::Create { user_id, movie_id, rating }, id).await)?;
    }
    show("read", session.read(user_id, movie_id).await)?;
    show("delete", session.delete(user_id, movie_id).await)?;
    Ok(())
}
