//! A saved answer in place of a server: `file:../samples/api/products` is `../samples/api/products.json`.

use std::path::{Path, PathBuf};

use lagar_flow::{Body, Error, Result, codes};

use crate::{
    Cx,
    file::local,
    spool::{Spooled, hash_file},
};

pub(crate) struct SavedAnswer {
    /// As written, decoded, with its extension.
    path: PathBuf,
}

impl SavedAnswer {
    /// `None` when `url` is not a `file:` URL. A query is ignored: it would ask a server.
    pub fn parse(url: &str) -> Option<Self> {
        let path = local::file_url_path(url)?;
        let mut name = path.file_name()?.to_os_string();
        if path.extension().is_none_or(|extension| extension != "json") {
            name.push(".json");
        }
        Some(Self { path: path.with_file_name(name) })
    }

    /// A saved answer that lies in a folder of this one's name.
    pub fn within(&self, name: &str) -> Self {
        Self { path: self.path.with_extension("").join(format!("{name}.json")) }
    }

    /// The path to show and the one to open.
    pub fn find(&self, cx: &Cx) -> Result<(String, PathBuf)> {
        let path = cx.project_dir.join(&self.path);
        if path.is_file() {
            return Ok((self.path.display().to_string(), path));
        }
        Err(local::missing(&self.path, &path))
    }
}

pub(crate) fn hashed(path: &Path) -> Result<Spooled> {
    let (sha256, bytes) = hash_file(path).map_err(|error| {
        Error::new(codes::SOURCE_IO, format!("{} cannot be read", path.display())).caused_by(&error)
    })?;
    Ok(Spooled { body: Body::Local(path.to_owned()), sha256, bytes })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_the_name_of_a_file() {
        for (url, path) in [
            ("file:../api/products", "../api/products.json"),
            ("file:../api/products.json", "../api/products.json"),
            ("file:api/a%20b?limit=5#x", "api/a b.json"),
            ("file:///var/api/v1.2", "/var/api/v1.2.json"),
            ("file:/var/api/x", "/var/api/x.json"),
        ] {
            assert_eq!(SavedAnswer::parse(url).unwrap().path, Path::new(path), "{url}");
        }
        assert!(SavedAnswer::parse("https://a.example/x").is_none());
        let of_day = SavedAnswer::parse("file:../api/v1.2/x").unwrap().within("2024-01-31");
        assert_eq!(of_day.path, Path::new("../api/v1.2/x/2024-01-31.json"));
    }
}
