//! Secrets, which must not be shown.

/// A URL (or several with commas between them) without user names and passwords.
pub(crate) fn without_secrets(url: &str) -> String {
    let one = |url: &str| match url.rsplit_once('@') {
        Some((before, host)) => match before.split_once("://") {
            Some((scheme, _)) => format!("{scheme}://{host}"),
            None => host.to_owned(),
        },
        None => url.to_owned(),
    };
    url.split(',').map(one).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_passwords_and_tokens_are_left_out_of_urls() {
        assert_eq!(without_secrets("a:b@h:1,nats://x@y,tls://z:2"), "h:1,nats://y,tls://z:2");
    }
}
