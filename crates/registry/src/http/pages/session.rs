//! Who is signed in to the pages: a signed cookie, and the token that each form carries against requests forged by other
//! sites.

use http::{HeaderMap, Method, header};

use crate::{
    Error, Registry,
    auth::{Caller, Mode, passwords},
    clock,
    http::{
        query::Query,
        route::{Asked, Peer},
    },
};

/// Seconds that a session lasts.
const LIFETIME: u64 = 12 * 3600;
const COOKIE: &str = "skiff_session";

/// A visitor.
pub(super) struct Visitor {
    pub(super) caller: Caller,
    /// What the session is called and the forms' token is made of; empty for who is not signed in.
    nonce: String,
    /// When the session ends by itself; seconds since 1970.
    expires: u64,
}

impl Visitor {
    /// Who sends this request.
    pub(super) fn read(registry: &Registry, peer: &Peer, method: &Method, headers: &HeaderMap) -> Self {
        let base = registry.base(peer, headers);
        let address = peer.address.map(|address| address.ip());
        let asked = || Asked::read(peer, method, headers);
        let nobody = || Self {
            caller: Caller::nobody(&base).at(address).asking(asked()),
            nonce: String::new(),
            expires: 0,
        };
        let Some(value) = cookie(headers) else { return nobody() };
        let parts: Vec<&str> = value.splitn(4, '.').collect();
        let [nonce, until, seal, user] = parts.as_slice() else { return nobody() };
        let Ok(expires) = until.parse() else { return nobody() };
        let current = clock::now() < expires && !registry.sessions.is_ended(nonce);
        let Some(hash) = hash(registry, user).filter(|_| current) else { return nobody() };
        if !registry.auth.signer.sealed("session", &sealed(nonce, until, user, &hash), seal) {
            return nobody();
        }
        let caller = Caller::known(user, &base).at(address).asking(asked());
        Self { caller, nonce: (*nonce).to_owned(), expires }
    }

    /// What each form carries.
    pub(super) fn form_token(&self, registry: &Registry) -> String {
        registry.auth.signer.seal("form", &self.nonce)
    }

    /// Refuses a form that this registry's pages did not make for this visitor.
    pub(super) fn check_form(
        &self,
        registry: &Registry,
        headers: &HeaderMap,
        form: &Query,
    ) -> Result<(), Error> {
        self.same_site(headers)?;
        if registry.auth.signer.sealed("form", &self.nonce, form.get("token").unwrap_or_default()) {
            return Ok(());
        }
        Err(Error::Denied { reason: "the form is out of date: open the page again".into() })
    }

    /// Refuses what a browser sends for another site.
    fn same_site(&self, headers: &HeaderMap) -> Result<(), Error> {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let foreign = || Err(Error::Denied { reason: "the form comes from another site".into() });
        if text("sec-fetch-site").is_some_and(|site| site != "same-origin" && site != "none") {
            return foreign();
        }
        let host = text("x-forwarded-host").or_else(|| text("host"));
        // A proxy may ask by a name of its own: then browsers know the address that was configured.
        let configured = self.caller.base.split_once("://").map(|(_, host)| host);
        match text("origin").map(|origin| origin.split_once("://").map(|(_, host)| host)) {
            None => Ok(()),
            Some(origin) if origin.is_some() && [host, configured].contains(&origin) => Ok(()),
            Some(_) => foreign(),
        }
    }
}

/// A cookie for who has shown the right password.
pub(super) fn sign_in(registry: &Registry, user: &str, secure: bool) -> Option<String> {
    let hash = hash(registry, user)?;
    let (nonce, expires) = (passwords::random(22), (clock::now() + LIFETIME).to_string());
    let seal = registry.auth.signer.seal("session", &sealed(&nonce, &expires, user, &hash));
    let secure = if secure { "; Secure" } else { "" };
    Some(format!(
        "{COOKIE}={nonce}.{expires}.{seal}.{user}; Path=/; HttpOnly; SameSite=Lax; Max-Age={LIFETIME}{secure}"
    ))
}

/// Ends the visitor's session. Answers a cookie that takes it away.
pub(super) async fn sign_out(registry: &Registry, visitor: &Visitor) -> Result<String, Error> {
    if !visitor.nonce.is_empty() {
        registry.sessions.end(&visitor.nonce, visitor.expires).await?;
    }
    Ok(format!("{COOKIE}=; Path=/; HttpOnly; SameSite=Lax; Max-Age=0"))
}

/// With the hash of the password: a new password ends the sessions of the old one.
fn sealed(nonce: &str, expires: &str, user: &str, hash: &str) -> String {
    format!("{nonce}\n{expires}\n{user}\n{hash}")
}

fn hash(registry: &Registry, user: &str) -> Option<String> {
    match &registry.auth.mode {
        Mode::Open => None,
        Mode::Htpasswd(file) => file.hash(user).ok(),
        Mode::Accounts => registry.accounts.password(user),
    }
}

fn cookie(headers: &HeaderMap) -> Option<&str> {
    let all = headers.get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    all.flat_map(|text| text.split(';')).find_map(|pair| pair.trim().strip_prefix(COOKIE)?.strip_prefix('='))
}
