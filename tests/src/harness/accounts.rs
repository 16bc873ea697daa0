//! An operator, an account and users with an expiry, as `nsc` makes them: JWTs signed by NKeys.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use nkeys::KeyPair;
use serde_json::{Value, json};

/// One operator with one account.
pub struct Accounts {
    operator: KeyPair,
    account: KeyPair,
}

impl Accounts {
    /// New keys.
    #[allow(clippy::new_without_default, reason = "each is another one")]
    pub fn new() -> Self {
        Self { operator: KeyPair::new_operator(), account: KeyPair::new_account() }
    }

    /// The configuration of a server that lets in only this account's users.
    pub fn configuration(&self) -> String {
        let operator = sign(&self.operator, &self.operator, None, json!({"type": "operator", "version": 2}));
        let limits = json!({"subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true,
            "conn": -1, "leaf": -1});
        let claims = json!({"type": "account", "version": 2, "limits": limits});
        let account = sign(&self.operator, &self.account, None, claims);
        let id = self.account.public_key();
        format!("operator: {operator}\nresolver: MEMORY\nresolver_preload: {{ {id}: {account} }}\n")
    }

    /// Writes a credentials file of a new user, valid for `time` from now. The file is whole at every moment.
    pub fn write_credentials(&self, path: &Path, time: Duration) {
        let user = KeyPair::new_user();
        let expires = SystemTime::now().duration_since(UNIX_EPOCH).unwrap() + time;
        let claims = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1, "pub": {}, "sub": {}});
        let jwt = sign(&self.account, &user, Some(expires.as_secs()), claims);
        let seed = user.seed().unwrap();
        let text = format!(
            "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{seed}\n------END USER NKEY SEED------\n"
        );
        let new = path.with_extension("new");
        std::fs::write(&new, text).unwrap();
        std::fs::rename(&new, path).unwrap();
    }
}

/// A JWT about `subject`, signed by `issuer`.
fn sign(issuer: &KeyPair, subject: &KeyPair, expires: Option<u64>, claims: Value) -> String {
    let mut body = json!({"jti": format!("{:032x}", fastrand::u128(..)), "iat": 1_700_000_000, "iss": issuer.public_key(),
        "sub": subject.public_key(), "name": "test", "nats": claims});
    if let Some(expires) = expires {
        body["exp"] = json!(expires);
    }
    let encode = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", encode(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), encode(&body));
    let signature = issuer.sign(signed.as_bytes()).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}
