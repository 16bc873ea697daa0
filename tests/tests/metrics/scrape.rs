//! HTTP requests by hand, and metrics as a scrape shows them.

use std::time::{Duration, Instant};

use natter_tests::harness::{DEADLINE, Member};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

/// The interval at which a probe is repeated.
const ASK_EVERY: Duration = Duration::from_millis(50);

/// The address that a process tells in its log.
pub(crate) async fn address_of(member: &mut Member) -> String {
    const TOLD: &str = "serves metrics and health";
    member.until_logged(TOLD).await;
    let log = member.log();
    let line = log.lines().rfind(|line| line.contains(TOLD)).unwrap();
    let (_, rest) = line.split_once("address=").expect("the log tells the address");
    rest.split_whitespace().next().unwrap().to_owned()
}

/// Opens a connection, and sends this.
pub(crate) async fn send(address: &str, text: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(text.as_bytes()).await.unwrap();
    stream
}

/// The status and the body of an answer.
pub(crate) async fn get(address: &str, path: &str) -> (u16, String) {
    let mut stream = send(address, &format!("GET {path} HTTP/1.1\r\nHost: {address}\r\n\r\n")).await;
    let mut answer = String::new();
    timeout(DEADLINE, stream.read_to_string(&mut answer)).await.expect("an answer").unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split_whitespace().nth(1).expect("a status").parse().unwrap();
    (status, body.to_owned())
}

/// Asks until the answer has this status. Gives its body.
pub(crate) async fn until_status(address: &str, path: &str, wanted: u16) -> String {
    let started = Instant::now();
    loop {
        let (status, body) = get(address, path).await;
        if status == wanted {
            return body;
        }
        assert!(started.elapsed() < DEADLINE, "{path} stays {status}: {body}");
        sleep(ASK_EVERY).await;
    }
}

/// All metrics of a process.
pub(crate) struct Scrape {
    pub(crate) text: String,
}

impl Scrape {
    /// Scrapes a process.
    pub(crate) async fn of(address: &str) -> Self {
        let (status, text) = get(address, "/metrics").await;
        assert_eq!(status, 200, "{text}");
        Self { text }
    }

    /// Scrapes a process until its metrics are so.
    pub(crate) async fn until(address: &str, are_so: impl Fn(&Self) -> bool) -> Self {
        let started = Instant::now();
        loop {
            let scrape = Self::of(address).await;
            if are_so(&scrape) {
                return scrape;
            }
            assert!(started.elapsed() < DEADLINE, "the metrics never become so:\n{}", scrape.text);
            sleep(ASK_EVERY).await;
        }
    }

    /// Whether there is a metric of this name.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.names().contains(&name)
    }

    /// The names of all metrics.
    pub(crate) fn names(&self) -> Vec<&str> {
        let types = self.text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
        types.map(|rest| rest.split_once(' ').unwrap().0).collect()
    }

    /// The value of the sample with this name and exactly these labels.
    pub(crate) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        self.text.lines().find_map(|line| {
            let (series, value) = line.rsplit_once(' ')?;
            let (own, rest) = series.split_once('{').unwrap_or((series, "}"));
            let mut shown: Vec<&str> =
                rest.trim_end_matches('}').split(',').filter(|label| !label.is_empty()).collect();
            let mut wanted: Vec<String> = labels.iter().map(|(label, value)| format!("{label}=\"{value}\"")).collect();
            shown.sort_unstable();
            wanted.sort_unstable();
            (own == name && shown == wanted).then(|| value.parse().unwrap())
        })
    }
}
