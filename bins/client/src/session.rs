//! A session as a library: connect, ask, and hand what was seen to another program.
//!
//! ```no_run
//! use natter_client::session::{MovieId, Session, Stars, UserId};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut session = Session::connect("nats://127.0.0.1:4222").await?;
//! let (user, movie) = (UserId::new(42)?, MovieId::new(1)?);
//! let created = session.create(user, movie, Stars::try_from(4.5)?).await?;
//! assert_eq!(session.read(user, movie).await?.value.rating, created.value.rating);
//! # Ok(())
//! # }
//! ```
//!
//! Each call carries the session's label, and takes in the label of its answer. A call without an answer is sent again for
//! [`Settings::patience`], an update under the same id, so that it takes effect once. Where it still fails, the error tells
//! whether the update may have taken effect:
//!
//! ```
//! use natter_client::session::{ErrorName, SessionError};
//!
//! let error = SessionError::from_headers("409", "RATING_EXISTS: user 42 has already rated movie 1");
//! assert_eq!(error.name, ErrorName::RatingExists);
//! assert!(!error.name.leaves_doubt() && error.doubtful.is_none());
//! ```

use natter_broker::connection::{self, ConnectError, ConnectionSettings, Patience};
use natter_broker::environment::Environment;
use natter_broker::target::Target;
use natter_common::subjects::Subjects;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::unbounded_channel;

use crate::api::Client;
use crate::memory::Memory;
use crate::transport::NatsTransport;

pub use crate::api::Settings;
pub use crate::api::batch::{BatchAnswer, BatchOperation};
pub use crate::error::{ClientError as SessionError, ErrorName};
pub use natter_broker::options::BrokerOptions;
pub use natter_common::cluster::ClusterId;
pub use natter_common::edge::{AverageReply, MoviesReply, RatingReply, RatingsReply};
pub use natter_common::ids::{MovieId, ReplicaId, UpdateId, UserId};
pub use natter_common::label::Label;
pub use natter_common::rating::{Average, Movie, Movies, Rating, Ratings, Stars};
pub use natter_common::request::Update;

/// A session with the frontends of one cluster, over a connection of its own. Its calls are those of [`Client`]:
/// [`create`](Client::create), [`update`](Client::update), [`delete`](Client::delete), [`read`](Client::read),
/// [`all`](Client::all), [`average`](Client::average), [`search`](Client::search) and [`batch`](Client::batch).
pub type Session = Client<NatsTransport>;

/// Options of a session.
#[derive(Default)]
pub struct SessionOptions {
    /// Broker, credentials and subject prefix. The options for logs have no effect.
    pub broker: BrokerOptions,
    /// Timeouts, and a function that is told why a call takes long.
    pub settings: Settings,
    /// The user whose own subjects are used, for a broker that ties a connection to one user. Such a session asks on
    /// behalf of this user only.
    pub own_subject: Option<UserId>,
    /// The state of an earlier session: this one goes on from there. The default begins a new session.
    pub seen: Seen,
}

/// The state of a session: its label and cluster. It may be stored, and handed to another program.
///
/// ```
/// use natter_client::session::Seen;
///
/// let text = r#"{"label":{"replicas":{"r1-pkbxhrtc":7},"clock":117666561586036736},"cluster":"kqvodgtzhbra"}"#;
/// let seen: Seen = serde_json::from_str(text)?;
/// assert_eq!(serde_json::to_string(&seen)?, text);
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Seen {
    /// The session's label.
    pub label: Label,
    /// The cluster that the label comes from. A label is good in that cluster only.
    pub cluster: Option<ClusterId>,
}

/// The reason why a session does not begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// There is no connection to the broker.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The prefix can begin no subject.
    #[error("the prefix {prefix:?} is not valid: use words of A-Z a-z 0-9 _ - with dots between them")]
    Prefix {
        /// The prefix as given.
        prefix: String,
    },
}

impl Session {
    /// Begins a new session over a connection to `server`: one URL, or several with commas between them.
    ///
    /// # Errors
    ///
    /// No connection within [`Settings::patience`], or one that the broker refuses.
    pub async fn connect(server: &str) -> Result<Self, BeginError> {
        let broker = BrokerOptions { server: Some(server.to_owned()), ..BrokerOptions::default() };
        Self::connect_with(SessionOptions { broker, ..SessionOptions::default() }).await
    }

    /// Begins a session with these options, or goes on with an earlier one:
    ///
    /// ```no_run
    /// use natter_client::session::{BrokerOptions, Seen, Session, SessionOptions, Settings};
    /// use std::time::Duration;
    ///
    /// # async fn go_on(seen: Seen) -> Result<(), Box<dyn std::error::Error>> {
    /// let broker = BrokerOptions { context: Some("staging".into()), ..BrokerOptions::default() };
    /// let settings = Settings { patience: Duration::from_secs(60), ..Settings::default() };
    /// let session = Session::connect_with(SessionOptions { broker, settings, seen, ..Default::default() }).await?;
    /// println!("it has seen {}", session.label());
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`Session::connect`], and options that name no broker.
    pub async fn connect_with(options: SessionOptions) -> Result<Self, BeginError> {
        let SessionOptions { broker, settings, own_subject, seen } = options;
        let subjects = Subjects::new(&broker.prefix).ok_or(BeginError::Prefix { prefix: broker.prefix.clone() })?;
        let target = Target::resolve(&broker, &Environment::of_process()).map_err(ConnectError::from)?;
        let name = own_subject.map_or_else(|| "session".to_owned(), |user| format!("session-{user}"));
        let connection =
            ConnectionSettings { name, no_echo: false, patience: Patience::GiveUpAfter(settings.patience) };
        let (sender, events) = unbounded_channel();
        let connection = connection::connect_to(&target, &connection, Some(sender)).await?;
        let transport = NatsTransport::new(connection, subjects, &target.servers().join(", "), events)
            .of_user(own_subject, own_subject.is_some());
        Ok(Self::new(transport, Memory::of(seen.label, seen.cluster), settings))
    }

    /// The state of this session so far, to be stored or handed on.
    pub fn seen(&self) -> Seen {
        Seen { label: self.label().clone(), cluster: self.cluster().cloned() }
    }
}
