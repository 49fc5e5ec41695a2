//! Manifests, tags and blobs of a repository (distribution-spec, "Pull").

use http::{HeaderName, Method, StatusCode, header};
use serde::Deserialize;
use skiff_types::Digest;

use crate::{
    Error, Result, Session,
    auth::Scopes,
    exchange::{Answer, Body, Request},
    media::{self, Descriptor, Fetched, MANIFESTS, essence},
    url::escape,
};

/// The most tags of a repository, and the most bytes of all pages of their list.
const MOST_TAGS: usize = 1_000_000;
const MOST_LISTED: usize = 128 << 20;
/// How many tags are asked for at once.
const PAGE: usize = 1000;

const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");

/// A repository of a registry that has been opened.
pub struct Repository<'a> {
    pub(crate) session: &'a Session,
    /// The path within the registry: `library/busybox`.
    pub(crate) path: String,
}

impl Session {
    /// A repository by its path within the registry.
    pub fn repository(&self, path: &str) -> Repository<'_> {
        Repository { session: self, path: path.to_owned() }
    }
}

impl Repository<'_> {
    pub(crate) fn url(&self, rest: &str) -> crate::url::Url {
        let mut url = self.session.endpoint.url(&format!("/{}/{rest}", self.path));
        // A mirror for several registries is told whose repository it is.
        if self.session.is_mirror()
            && let Some(of) = &self.session.endpoint.stands_for
        {
            url = url.with_query("ns", of);
        }
        url
    }

    fn manifest_request(&self, method: Method, reference: &str) -> Request {
        let request = Request::new(method, self.url(&format!("manifests/{}", escape_reference(reference))));
        request.header(header::ACCEPT, &MANIFESTS.join(", "))
    }

    /// What a tag or digest refers to, without fetching it; none if the registry does not say.
    ///
    /// # Errors
    /// Those of asking; that there is no such manifest is not one.
    pub async fn resolve(&self, reference: &str) -> Result<Option<Descriptor>> {
        let request = self.manifest_request(Method::HEAD, reference);
        let answer = self.session.send(request, &Scopes::pull(&self.path)).await?;
        if answer.status() != StatusCode::OK {
            return Ok(None);
        }
        let digest = answer.header(CONTENT_DIGEST).and_then(|d| d.parse().ok());
        let size = answer.header(header::CONTENT_LENGTH).and_then(|n| n.parse().ok());
        let media_type = answer.header(header::CONTENT_TYPE).map(essence);
        Ok(match (digest, size, media_type) {
            (Some(digest), Some(size), Some(kind)) => Some(Descriptor::new(kind, digest, size)),
            _ => None,
        })
    }

    /// The manifest or index of a tag or digest. One that was asked for by digest has it.
    ///
    /// # Errors
    /// Those of asking, and [`Error::Untrue`] for what is none or too large.
    pub async fn manifest(&self, reference: &str) -> Result<Fetched> {
        let request = self.manifest_request(Method::GET, reference);
        let answer = self.session.send(request, &Scopes::pull(&self.path)).await?;
        if answer.status() != StatusCode::OK {
            return Err(answer.into_error().await);
        }
        let announced = answer.header(header::CONTENT_TYPE).map(essence).unwrap_or_default().to_owned();
        let most = self.session.exchange.config.limits.manifest;
        let length = answer.header(header::CONTENT_LENGTH).and_then(|n| n.parse::<u64>().ok());
        if length.is_some_and(|n| n > most as u64) {
            return Err(Error::Untrue(format!("the manifest {reference} is larger than {most} bytes")));
        }
        let bytes = answer.bytes("the manifest", most).await?;
        let digest = Digest::of(&bytes);
        if let Ok(expected) = reference.parse::<Digest>()
            && expected != digest
        {
            return Err(Error::Digest { what: "manifest", expected: expected.to_string() });
        }
        let (media_type, document) = media::parse(&announced, &bytes)?;
        let descriptor = Descriptor::new(&media_type, digest, bytes.len() as u64);
        Ok(Fetched { descriptor, bytes, document })
    }

    /// Stores a manifest under a tag or its digest.
    ///
    /// # Errors
    /// Those of asking, [`Error::Untrue`] for a media type of no manifest.
    pub async fn put_manifest(&self, reference: &str, media_type: &str, bytes: bytes::Bytes) -> Result<()> {
        let media_type = MANIFESTS
            .into_iter()
            .find(|known| *known == media_type)
            .ok_or_else(|| Error::Untrue(format!("unsupported manifest media type {media_type}")))?;
        let mut request =
            Request::new(Method::PUT, self.url(&format!("manifests/{}", escape_reference(reference))));
        request.body = Body::Bytes(bytes, media_type);
        let answer = self.session.send(request, &Scopes::push(&self.path)).await?;
        match answer.status() {
            status if status.is_success() => {
                answer.discard().await;
                Ok(())
            }
            _ => Err(answer.into_error().await),
        }
    }

    /// Whether a blob can be read here.
    ///
    /// # Errors
    /// Those of asking; that it is not there is none.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let request = Request::new(Method::HEAD, self.url(&format!("blobs/{digest}")));
        let answer = self.session.send(request, &Scopes::pull(&self.path)).await?;
        match answer.status() {
            StatusCode::OK => Ok(true),
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(answer.into_error().await),
        }
    }

    /// A small blob whole, verified: a configuration.
    ///
    /// # Errors
    /// Those of asking, [`Error::Untrue`] if it is longer than its descriptor says, [`Error::Digest`].
    pub async fn small_blob(&self, blob: &Descriptor) -> Result<bytes::Bytes> {
        let most = self.session.exchange.config.limits.manifest;
        if blob.size > most as u64 {
            return Err(Error::Untrue(format!(
                "{} of {} bytes is larger than {most} bytes",
                blob.digest, blob.size
            )));
        }
        let request = Request::get(self.url(&format!("blobs/{}", blob.digest)));
        let answer = self.session.send(request, &Scopes::pull(&self.path)).await?;
        if answer.status() != StatusCode::OK {
            return Err(answer.into_error().await);
        }
        let bytes = answer.bytes("the blob", blob.size as usize).await?;
        if Digest::of(&bytes) != blob.digest {
            return Err(Error::Digest { what: "image config", expected: blob.digest.to_string() });
        }
        Ok(bytes)
    }

    /// All tags, in the registry's order. What cannot be one is left out.
    ///
    /// # Errors
    /// Those of asking, [`Error::Untrue`] for a list without end.
    pub async fn tags(&self) -> Result<Vec<String>> {
        let most = self.session.exchange.config.limits.list;
        let slow = |_| Error::Untrue(format!("the list of tags takes longer than {most:?}"));
        tokio::time::timeout(most, self.all_tags()).await.map_err(slow)?
    }

    async fn all_tags(&self) -> Result<Vec<String>> {
        #[derive(Deserialize)]
        struct Page {
            #[serde(default)]
            tags: Option<Vec<String>>,
        }
        let (mut tags, mut last, mut listed, mut bytes) = (Vec::new(), None, 0, 0);
        let mut next = Some(self.url("tags/list").with_query("n", &PAGE.to_string()));
        while let Some(url) = next.take() {
            let answer = self.session.send(Request::get(url.clone()), &Scopes::pull(&self.path)).await?;
            if answer.status() != StatusCode::OK {
                return Err(answer.into_error().await);
            }
            let more = following(&answer).and_then(|link| url.join(&link).ok());
            let body = answer.bytes("the list of tags", 16 << 20).await?;
            let page: Page = serde_json::from_slice(&body)
                .map_err(|e| Error::Untrue(format!("invalid list of tags: {e}")))?;
            let page = page.tags.unwrap_or_default();
            // A page with nothing new on it would go on for ever.
            next =
                more.filter(|u| u.origin == url.origin && !page.is_empty() && last.as_ref() != page.last());
            last = page.last().cloned();
            listed += page.len();
            bytes += body.len();
            if listed > MOST_TAGS || bytes > MOST_LISTED {
                return Err(Error::Untrue(format!(
                    "the list of tags has more than {MOST_TAGS} tags or {MOST_LISTED} bytes"
                )));
            }
            tags.extend(page.into_iter().filter(|tag| is_tag(tag)));
        }
        Ok(tags)
    }
}

/// Whether this can be a tag (distribution-spec, "Pulling manifests").
fn is_tag(text: &str) -> bool {
    text.len() <= 128
        && text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
}

/// `Link: </v2/…>; rel="next"`.
fn following(answer: &Answer) -> Option<String> {
    let link = answer.header(header::LINK)?;
    let (target, parameters) = link.strip_prefix('<')?.split_once('>')?;
    parameters.contains("next").then(|| target.to_owned())
}

fn escape_reference(reference: &str) -> String {
    match reference.contains(':') {
        true => reference.to_owned(),
        false => escape(reference),
    }
}
