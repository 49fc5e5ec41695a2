//! What is asked of registries beside images: are these credentials good, what is behind a name, what is there to find.

use skiff_distribution::{Credentials, Descriptor, Document, Found, Platform, Purpose};
use skiff_images::ImageConfig;

use super::{Registries, parse};
use crate::{Error, Result, model::Filters};

/// What is behind a name.
#[derive(Clone, Debug)]
pub struct DistributionInfo {
    /// The manifest or index.
    pub descriptor: Descriptor,
    /// Whom the image is for; none if it is no image.
    pub platforms: Option<Vec<Platform>>,
}

/// The most results of a search, and how many there are if nobody says.
const MOST_FOUND: i64 = 100;
const FOUND: i64 = 25;

impl Registries {
    /// Tries credentials. Answers an identity token if the registry gives one; empty otherwise.
    ///
    /// # Errors
    /// Wrong credentials, a registry that cannot be reached.
    pub async fn login(&self, address: &str, credentials: &Credentials) -> Result<String> {
        let token = self.client.login(address, credentials).await?;
        Ok(token.map(|t| t.reveal().to_owned()).unwrap_or_default())
    }

    /// What a registry has behind a name.
    ///
    /// # Errors
    /// A wrong name, no such image, a registry that cannot be reached.
    pub async fn look(&self, image: &str, credentials: &Credentials) -> Result<DistributionInfo> {
        let is_id =
            image.len() == 64 && image.bytes().all(|c| c.is_ascii_digit() || (b'a'..=b'f').contains(&c));
        if is_id {
            return Err(Error::Internal("no manifest found for full image ID".to_owned()));
        }
        let reference = parse(image)?.or_latest();
        let wanted = match (reference.digest(), reference.tag()) {
            (Some(digest), _) => digest.to_string(),
            (None, tag) => tag.unwrap_or_default().to_owned(),
        };
        let mut last = Error::Internal(format!("no endpoints found for {}", reference.domain()));
        for candidate in self.client.candidates(reference.domain(), Purpose::Pull).await? {
            let looked = async {
                let session = self.client.open(&candidate, credentials).await?;
                let repository = session.repository(reference.path());
                // Asked for without its manifest first, as a pull does: that is what fails where it may not be read.
                repository.resolve(&wanted).await?;
                let fetched = repository.manifest(&wanted).await?;
                let platforms = match &fetched.document {
                    Document::Index(index) => {
                        Some(index.manifests.iter().filter_map(|m| m.platform.clone()).collect())
                    }
                    Document::Manifest(manifest) => {
                        let config = repository.small_blob(&manifest.config).await?;
                        platform(&config).map(|p| vec![p])
                    }
                };
                Ok::<_, skiff_distribution::Error>(DistributionInfo {
                    descriptor: fetched.descriptor,
                    platforms,
                })
            };
            match looked.await {
                Ok(info) => return Ok(info),
                Err(error) => last = error.into(),
            }
        }
        Err(last)
    }

    /// Searches an index for repositories. `limit` as it was asked for; 0 for the default.
    ///
    /// # Errors
    /// Wrong limits and filters, an index that cannot be reached.
    pub async fn search(
        &self,
        term: &str,
        limit: i64,
        filters: &Filters,
        credentials: &Credentials,
    ) -> Result<Vec<Found>> {
        let keep = search_filter(filters)?;
        let limit = if limit == 0 { FOUND } else { limit };
        if !(1..=MOST_FOUND).contains(&limit) {
            return Err(Error::Invalid(format!("limit {limit} is outside the range of [1, {MOST_FOUND}]")));
        }
        if term.contains("://") {
            return Err(Error::Invalid(format!(
                "invalid repository name: repository name ({term}) should not have a scheme"
            )));
        }
        let (registry, term) = match term.split_once('/') {
            Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
            _ => ("docker.io", term),
        };
        let registry = if registry == "index.docker.io" { "docker.io" } else { registry };
        let found = self.client.search(registry, term, limit as u32, credentials).await?;
        Ok(found.into_iter().filter(|f| keep(f)).collect())
    }
}

/// The platform of a configuration; none for what is no image's.
fn platform(config: &[u8]) -> Option<Platform> {
    let config = ImageConfig::parse(config).ok()?;
    (!config.os.is_empty() || !config.architecture.is_empty()).then(|| platform_of(&config))
}

/// Whom an image with this configuration is for.
pub(crate) fn platform_of(config: &ImageConfig) -> Platform {
    Platform {
        os: config.os.clone(),
        architecture: config.architecture.clone(),
        variant: config.variant.clone(),
        os_version: config.os_version.clone(),
        os_features: config.os_features.clone(),
    }
}

/// Filters of a search.
fn search_filter(filters: &Filters) -> Result<impl Fn(&Found) -> bool + use<>> {
    filters.accept(&["is-automated", "is-official", "stars"])?;
    let given = |key| filters.has(key).then(|| filters.boolean(key, false)).transpose();
    let (official, automated) = (given("is-official")?, given("is-automated")?);
    let mut stars = 0i64;
    for value in filters.values("stars") {
        let number: i64 = value.parse().map_err(|_| {
            let why = format!("strconv.Atoi: parsing {value:?}: invalid syntax");
            Error::Invalid(format!("invalid filter 'stars={value}': {why}"))
        })?;
        stars = stars.max(number);
    }
    Ok(move |found: &Found| {
        official.is_none_or(|wanted| found.is_official == wanted)
            && automated.is_none_or(|wanted| found.is_automated == wanted)
            && found.star_count >= stars
    })
}
