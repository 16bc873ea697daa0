//! Servers and identity for a connection: the command line's options and the context that they name, put together.
//!
//! A server or credentials among the options win over the context's; credentials as a whole, so that a user on the command
//! line is never sent with a context's password.
//!
//! A context and the files that it or the options name are read again at each connection attempt ([`Target::renewed`]).

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use async_nats::{Auth, AuthError, ConnectOptions, ServerAddr};
use percent_encoding::percent_decode_str;
use tracing::warn;

use crate::context::{Context, ContextError};
use crate::environment::Environment;
use crate::identity::{Identity, read};
use crate::options::{BrokerOptions, DEFAULT_SERVER};
use crate::secrets::without_secrets;

/// Servers and identity for a connection.
#[derive(Clone)]
pub struct Target {
    servers: Vec<ServerAddr>,
    identity: Identity,
    tls: Tls,
    inbox_prefix: Option<String>,
    /// Where all of this comes from.
    source: Arc<(BrokerOptions, Environment)>,
}

#[derive(Clone, Default)]
struct Tls {
    authority: Option<PathBuf>,
    certificate: Option<(PathBuf, PathBuf)>,
    first: bool,
}

/// Why the options name no broker that could be connected to. Nothing was tried yet.
#[derive(Debug, thiserror::Error)]
pub enum TargetError {
    /// The context could not be read.
    #[error(transparent)]
    Context(#[from] ContextError),
    /// The context asks for what Natter does not do.
    #[error("the context \"{context}\" sets `{field}`, which Natter does not support: {instead}")]
    Unsupported {
        /// The context's name.
        context: String,
        /// The field that asks for it.
        field: &'static str,
        /// Advice on what to do instead.
        instead: &'static str,
    },
    /// A server's URL is none.
    #[error("\"{server}\" is not the URL of a broker ({reason}): write it like nats://127.0.0.1:4222 or tls://host")]
    Server {
        /// The URL as given, without its password.
        server: String,
        /// Reason why it can't be used.
        reason: String,
    },
    /// A file that the options or the context name can't be used.
    #[error("can't use the {what} {}: {reason}", path.display())]
    File {
        /// Purpose of the file.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// Reason why it can't be used.
        reason: String,
    },
    /// A password without a user.
    #[error(
        "a password was given, but neither an option, a context nor the URL names a user: give --user (or NATS_USER) too"
    )]
    PasswordAlone,
    /// A client certificate without its key, or the other way round.
    #[error("the context \"{context}\" has only one of `cert` and `key`: set both with `nats context edit {context}`")]
    HalfCertificate {
        /// The context's name.
        context: String,
    },
}

impl Target {
    /// Puts the options and the context that they name together.
    ///
    /// # Errors
    ///
    /// Where the context can't be read, or any value of either can't be used.
    pub fn resolve(options: &BrokerOptions, environment: &Environment) -> Result<Self, TargetError> {
        let (name, context) = match given(options.context.as_deref()) {
            Some(name) => (name, Context::load(name, environment)?),
            None => ("", Context::default()),
        };
        let servers =
            parse_servers(given(options.server.as_deref()).or(given(Some(&context.url))).unwrap_or(DEFAULT_SERVER))?;
        let explicit = explicit_identity(options, named_user(&context, &servers))?;
        let identity = match explicit.or(context_identity(&context, environment)).or(url_identity(&servers)) {
            Some(identity) => identity,
            None => {
                refuse_unsupported(name, &context)?;
                Identity::Nobody
            }
        };
        if !context.socks_proxy.is_empty() {
            let instead = "connect without the proxy, or through a leaf node";
            return Err(TargetError::Unsupported { context: name.to_owned(), field: "socks_proxy", instead });
        }
        let path = |text: &String| given(Some(text)).map(|text| environment.expand_path(text));
        let certificate = match (path(&context.cert), path(&context.key)) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            _ => return Err(TargetError::HalfCertificate { context: name.to_owned() }),
        };
        Ok(Self {
            servers,
            identity,
            tls: Tls { authority: path(&context.ca), certificate, first: context.tls_first },
            inbox_prefix: given(Some(&context.inbox_prefix)).map(str::to_owned),
            source: Arc::new((options.clone(), environment.clone())),
        })
    }

    /// The target that the same options name now: the context may have changed since.
    ///
    /// # Errors
    ///
    /// As [`Target::resolve`].
    pub fn renewed(&self) -> Result<Self, TargetError> {
        Self::resolve(&self.source.0, &self.source.1)
    }

    /// The servers' URLs without user names and passwords, for people and for keys; in the order given.
    pub fn servers(&self) -> Vec<String> {
        self.servers.iter().map(|server| without_secrets(server.as_url_str())).collect()
    }

    /// The identity, for people: `user ann`, `the credentials in /x.creds`, `no credentials`.
    pub fn identity(&self) -> String {
        self.identity.describe()
    }

    pub(crate) fn is_anonymous(&self) -> bool {
        matches!(self.identity, Identity::Nobody)
    }

    pub(crate) fn addresses(&self) -> Vec<ServerAddr> {
        self.servers.clone()
    }

    /// Connection options with credentials, TLS and the inbox prefix. Context and files are read again at each connection
    /// attempt; here only to tell at once where that fails.
    pub(crate) fn connect_options(&self) -> Result<ConnectOptions, TargetError> {
        self.identity.prove(b"")?;
        let (source, said) = (self.clone(), Arc::new(Mutex::new(None)));
        let mut connect = ConnectOptions::with_auth_callback(move |nonce| {
            // Apart from the thread that serves: the files may be on a slow disk.
            let (source, said) = (source.clone(), Arc::clone(&said));
            let proving = tokio::task::spawn_blocking(move || source.prove_anew(&nonce, &said));
            async move { proving.await.map_err(AuthError::new)? }
        });
        if let Some(authority) = &self.tls.authority {
            read("certificate authority file", authority)?;
            connect = connect.add_root_certificates(authority.clone());
        }
        if let Some((certificate, key)) = &self.tls.certificate {
            read("client certificate", certificate)?;
            read("client certificate's key", key)?;
            connect = connect.add_client_certificate(certificate.clone(), key.clone());
        }
        if self.tls.first {
            connect = connect.tls_first();
        }
        if let Some(prefix) = &self.inbox_prefix {
            connect = connect.custom_inbox_prefix(prefix);
        }
        Ok(connect)
    }

    /// The proof for one connection attempt. `said` is the last complaint in the log: the same is not logged twice.
    fn prove_anew(&self, nonce: &[u8], said: &Mutex<Option<String>>) -> Result<Auth, AuthError> {
        let proof = self.renewed().and_then(|target| target.identity.prove(nonce));
        let complaint = proof.as_ref().err().map(ToString::to_string);
        let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(complaint) = &complaint
            && said.as_ref() != Some(complaint)
        {
            warn!("{complaint}; it is read again at the next attempt to connect");
        }
        *said = complaint;
        proof.map_err(AuthError::new)
    }
}

/// Shows where, and nothing secret.
impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("servers", &self.servers()).finish_non_exhaustive()
    }
}

/// An empty text counts as not given.
fn given(text: Option<&str>) -> Option<&str> {
    text.map(str::trim).filter(|text| !text.is_empty())
}

fn parse_servers(list: &str) -> Result<Vec<ServerAddr>, TargetError> {
    let urls: Vec<&str> = list.split(',').filter_map(|url| given(Some(url))).collect();
    let error =
        |url: &str, reason: &str| TargetError::Server { server: without_secrets(url), reason: reason.to_owned() };
    if urls.is_empty() {
        return Err(error(list, "it names no server"));
    }
    let parse = |url: &&str| {
        let server: ServerAddr = url.parse().map_err(|reason: std::io::Error| {
            error(url, reason.to_string().trim_start_matches("NATS server URL is invalid: "))
        })?;
        match server.scheme() {
            "nats" | "tls" if !server.host().is_empty() => Ok(server),
            "nats" | "tls" => Err(error(url, "it names no host")),
            scheme => Err(error(url, &format!("the scheme is {scheme}, not nats or tls"))),
        }
    };
    urls.iter().map(parse).collect()
}

/// Credentials among the options. A password alone belongs to `named_user`.
fn explicit_identity(options: &BrokerOptions, named_user: Option<String>) -> Result<Option<Identity>, TargetError> {
    let secret = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let creds = options.creds.clone().filter(|path| !path.as_os_str().is_empty());
    Ok(match (secret(&options.user), secret(&options.password), creds) {
        (Some(user), Some(password), _) => Some(Identity::User { user, password }),
        (Some(token), None, _) => Some(Identity::Token(token)),
        (None, _, Some(creds)) => Some(Identity::Credentials(creds)),
        (None, Some(password), None) => {
            Some(Identity::User { user: named_user.ok_or(TargetError::PasswordAlone)?, password })
        }
        (None, None, None) => None,
    })
}

/// The user that the context or else a server's URL names.
fn named_user(context: &Context, servers: &[ServerAddr]) -> Option<String> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let of_url = || servers.iter().find_map(|server| server.username()).map(decoded);
    given(Some(&context.user)).map(str::to_owned).or_else(of_url)
}

/// In the CLI's own order of precedence.
fn context_identity(context: &Context, environment: &Environment) -> Option<Identity> {
    if !context.user.is_empty() {
        Some(Identity::User { user: context.user.clone(), password: context.password.clone() })
    } else if !context.creds.is_empty() {
        Some(Identity::Credentials(environment.expand_path(&context.creds)))
    } else if !context.nkey.is_empty() {
        Some(Identity::NkeySeed(environment.expand_path(&context.nkey)))
    } else if !context.token.is_empty() {
        Some(Identity::Token(context.token.clone()))
    } else {
        None
    }
}

/// `nats://user:password@host` or `nats://token@host`, which async-nats itself does not look at.
fn url_identity(servers: &[ServerAddr]) -> Option<Identity> {
    let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let server = servers.iter().find(|server| server.has_user_pass())?;
    let user = decoded(server.username()?);
    Some(match server.password() {
        Some(password) => Identity::User { user, password: decoded(password) },
        None => Identity::Token(user),
    })
}

fn refuse_unsupported(name: &str, context: &Context) -> Result<(), TargetError> {
    let instead = "save the credentials to a file and set `creds` to it";
    for (field, value) in [("nsc", &context.nsc), ("user_jwt", &context.user_jwt)] {
        if !value.is_empty() {
            return Err(TargetError::Unsupported { context: name.to_owned(), field, instead });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(options: &BrokerOptions, context: Option<&str>) -> Result<Target, TargetError> {
        let config = tempfile::tempdir().unwrap();
        let directory = config.path().join("nats/context");
        std::fs::create_dir_all(&directory).unwrap();
        let mut options = options.clone();
        if let Some(text) = context {
            std::fs::write(directory.join("c.json"), text).unwrap();
            options.context = Some("c".into());
        }
        let pairs = [("XDG_CONFIG_HOME", config.path().as_os_str()), ("HOME", "/home/ann".as_ref())];
        Target::resolve(&options, &pairs.into_iter().collect())
    }

    fn with(change: impl FnOnce(&mut BrokerOptions)) -> BrokerOptions {
        let mut options = BrokerOptions::default();
        change(&mut options);
        options
    }

    #[test]
    fn default_is_the_broker_on_this_machine() {
        let target = resolve(&BrokerOptions::default(), None).unwrap();
        assert_eq!(target.servers(), [DEFAULT_SERVER]);
        assert_eq!(target.identity(), "no credentials");
    }

    #[test]
    fn empty_values_count_as_not_given() {
        let options = with(|o| {
            (o.server, o.context, o.user) = (Some(String::new()), Some(String::new()), Some(String::new()));
            o.creds = Some(PathBuf::new());
        });
        let target = Target::resolve(&options, &Environment::default()).unwrap();
        assert_eq!(
            (target.servers(), target.identity()),
            (vec![DEFAULT_SERVER.to_owned()], "no credentials".to_owned())
        );
    }

    #[test]
    fn options_win_over_the_context_and_credentials_do_so_as_a_whole() {
        let context = r#"{"url": "nats://far:1,nats://farther:2", "user": "bob", "password": "b"}"#;
        let target = resolve(&BrokerOptions::default(), Some(context)).unwrap();
        assert_eq!(
            (target.servers(), target.identity()),
            (vec!["nats://far:1".into(), "nats://farther:2".into()], "user bob".into())
        );
        let target = resolve(&with(|o| o.server = Some("near:5".into())), Some(context)).unwrap();
        assert_eq!((target.servers(), target.identity()), (vec!["nats://near:5".to_owned()], "user bob".to_owned()));
        let target = resolve(&with(|o| o.creds = Some("/x.creds".into())), Some(context)).unwrap();
        assert_eq!(target.identity(), "the credentials in /x.creds");
        let target = resolve(&with(|o| o.user = Some("t0ken".into())), Some(context)).unwrap();
        assert_eq!(target.identity(), "the token");
    }

    #[test]
    fn a_password_alone_belongs_to_the_user_of_the_context_or_the_url() {
        let password = |options: &mut BrokerOptions| options.password = Some("new".into());
        let context = r#"{"url": "nats://far:1", "user": "bob", "password": "old"}"#;
        let target = resolve(&with(password), Some(context)).unwrap();
        assert!(matches!(&target.identity, Identity::User { user, password } if user == "bob" && password == "new"));
        for url in ["nats://ann@h:1", "nats://ann:old@h:1"] {
            let target = resolve(&with(|o| (password(o), o.server = Some(url.into())).0), None).unwrap();
            assert!(
                matches!(&target.identity, Identity::User { user, password } if user == "ann" && password == "new")
            );
        }
        assert!(matches!(resolve(&with(password), Some(r#"{"token": "t"}"#)), Err(TargetError::PasswordAlone)));
    }

    #[test]
    fn context_paths_are_expanded() {
        let target = resolve(&BrokerOptions::default(), Some(r#"{"creds": "~/a.creds"}"#)).unwrap();
        assert_eq!(target.identity(), "the credentials in /home/ann/a.creds");
    }

    #[test]
    fn a_url_can_carry_user_or_token_and_shows_neither() {
        let target = resolve(&with(|o| o.server = Some("nats://ann:p%40ss@h:1".into())), None).unwrap();
        assert!(matches!(&target.identity, Identity::User { user, password } if user == "ann" && password == "p@ss"));
        assert_eq!(target.servers(), ["nats://h:1"]);
        let target = resolve(&with(|o| o.server = Some("nats://t0ken@h".into())), None).unwrap();
        assert!(matches!(&target.identity, Identity::Token(token) if token == "t0ken"));
    }

    #[test]
    fn bad_values_are_named() {
        for (server, why) in [("http://a", "http"), ("nats://a:port", "port"), (",", "no server"), ("ws://a", "ws")] {
            let error = resolve(&with(|o| o.server = Some(server.into())), None).unwrap_err().to_string();
            assert!(error.contains(why) && error.contains("nats://127.0.0.1:4222"), "{error}");
        }
        assert!(matches!(resolve(&with(|o| o.password = Some("x".into())), None), Err(TargetError::PasswordAlone)));
        let error = resolve(&BrokerOptions::default(), Some(r#"{"cert": "/a"}"#)).unwrap_err().to_string();
        assert!(error.contains("only one of"), "{error}");
        let error = resolve(&BrokerOptions::default(), Some(r#"{"nsc": "nsc://a"}"#)).unwrap_err().to_string();
        assert!(error.contains("nsc") && error.contains("`creds`"), "{error}");
    }

    #[test]
    fn a_missing_credentials_file_is_named() {
        let target = resolve(&with(|o| o.creds = Some("/nowhere/x.creds".into())), None).unwrap();
        let error = target.connect_options().map(|_| ()).unwrap_err().to_string();
        assert!(error.contains("credentials file /nowhere/x.creds"), "{error}");
    }

    #[test]
    fn a_changed_context_is_taken_over() {
        let config = tempfile::tempdir().unwrap();
        let directory = config.path().join("nats/context");
        std::fs::create_dir_all(&directory).unwrap();
        let file = directory.join("c.json");
        std::fs::write(&file, r#"{"user": "ann", "password": "old"}"#).unwrap();
        let environment = [("XDG_CONFIG_HOME", config.path().as_os_str())].into_iter().collect();
        let target = Target::resolve(&with(|o| o.context = Some("c".into())), &environment).unwrap();
        std::fs::write(&file, r#"{"user": "bob", "password": "new"}"#).unwrap();
        let said = Mutex::new(None);
        let auth = target.prove_anew(b"", &said).unwrap();
        assert_eq!((auth.username.as_deref(), auth.password.as_deref()), (Some("bob"), Some("new")));
        std::fs::write(&file, r#"{"user": "bob", "passw"#).unwrap();
        assert!(target.prove_anew(b"", &said).is_err());
        assert!(said.lock().unwrap().as_ref().is_some_and(|said| said.contains("c.json")));
    }
}
