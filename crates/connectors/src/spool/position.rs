//! A source's own memory of what it has read, as a [`Position`].

use lagar_flow::{Error, Position, Result, codes};
use serde::{Serialize, de::DeserializeOwned};

/// What `position` says to the kind of source that wrote it.
pub(crate) fn position<T: DeserializeOwned>(position: &Position) -> Result<T> {
    position.read().map_err(|error| {
        Error::new(codes::LAKE_CORRUPT, "the position of the last load cannot be read")
            .caused_by(&error)
            .hint("if the source was of another `type` before, give it a new name")
    })
}

/// `seen` as a position.
pub(crate) fn to_position<T: Serialize>(seen: &T) -> Result<Position> {
    Position::of(seen).map_err(|error| Error::bug("a position cannot be written").caused_by(&error))
}
