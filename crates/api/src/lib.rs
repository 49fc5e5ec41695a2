//! Wire types of the Docker Engine API: models, stream framing, filters, versions, error body. No logic.
