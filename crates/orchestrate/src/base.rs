//! Where the relative paths of a project file start: at the file itself, wherever it lies.

use lagar_flow::{Error, codes, redact_url};

/// The place of a project in an object store.
pub(crate) struct StoreBase {
    scheme: String,
    bucket: String,
    folders: Vec<String>,
}

impl StoreBase {
    /// `s3://bucket/projects/shop`
    pub fn new(location: &str) -> Self {
        let (scheme, rest) = location.split_once("://").unwrap_or(("s3", location));
        let mut parts = rest.split('/').filter(|part| !part.is_empty()).map(str::to_owned);
        Self { scheme: scheme.to_owned(), bucket: parts.next().unwrap_or_default(), folders: parts.collect() }
    }

    /// What `written` means in a project that lies here: a relative path is an address in the same bucket,
    /// everything else is what it was.
    ///
    /// # Errors
    /// [`codes::CONFIG`], without a place, for what can only be read from a disk, and for a path that leaves
    /// the bucket.
    pub fn resolve(&self, written: &str) -> Result<String, Error> {
        if let Some(path) = written.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            return match path.starts_with('/') || path.is_empty() || path == ":memory:" {
                true => Ok(written.to_owned()),
                false => Err(self.refused(written, "a SQLite file is read from a disk").hint(
                    "give the path of a file on the machine that runs it (sqlite:/data/shop.db), or a server",
                )),
            };
        }
        if let Some(path) = written.strip_prefix("file:") {
            return match path.starts_with('/') {
                true => Ok(written.to_owned()),
                false => Err(self.refused(written, "`file:` is read from a disk").hint(
                    "without `file:` a path is an object beside the project; file:///data/… is a file on the machine that runs it",
                )),
            };
        }
        if written.contains("://") || written.starts_with('/') || written.is_empty() {
            return Ok(written.to_owned());
        }
        let mut folders: Vec<&str> = self.folders.iter().map(String::as_str).collect();
        for part in written.split('/') {
            match part {
                "" | "." => {}
                ".." => {
                    folders.pop().ok_or_else(|| {
                        let message = format!("`{written}` leads out of the bucket `{}`", self.bucket);
                        Error::new(codes::CONFIG, message).hint(format!("relative paths start at {self}"))
                    })?;
                }
                part => folders.push(part),
            }
        }
        // A slash at the end says that it is a folder.
        let end = if written.ends_with('/') { "/" } else { "" };
        Ok(format!("{}://{}/{}{end}", self.scheme, self.bucket, folders.join("/")))
    }

    fn refused(&self, written: &str, why: &str) -> Error {
        let message =
            format!("`{}` cannot be found: {why}, and the project lies in {self}", redact_url(written));
        Error::new(codes::CONFIG, message)
    }
}

impl std::fmt::Display for StoreBase {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let path = self.folders.iter().map(|folder| format!("/{folder}")).collect::<String>();
        write!(f, "{}://{}{path}", self.scheme, self.bucket)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn relative_paths_start_at_the_project() {
        let base = StoreBase::new("s3://bucket/projects/shop/");
        for (written, address) in [
            ("../../data/cities.csv", "s3://bucket/data/cities.csv"),
            ("./lake", "s3://bucket/projects/shop/lake"),
            ("days/2024-*.csv.gz", "s3://bucket/projects/shop/days/2024-*.csv.gz"),
            ("days/", "s3://bucket/projects/shop/days/"),
            (".", "s3://bucket/projects/shop"),
            ("a/../b//c", "s3://bucket/projects/shop/b/c"),
            // What is absolute stays.
            ("s3://other/x.csv", "s3://other/x.csv"),
            ("https://a.example/x.csv", "https://a.example/x.csv"),
            ("/data/x.csv", "/data/x.csv"),
            ("file:///data/x.csv", "file:///data/x.csv"),
            ("sqlite:/data/shop.db", "sqlite:/data/shop.db"),
            ("sqlite:///data/shop.db", "sqlite:///data/shop.db"),
            ("postgres://u:p@h/db", "postgres://u:p@h/db"),
        ] {
            assert_eq!(base.resolve(written).unwrap(), address, "{written}");
        }
        assert_eq!(StoreBase::new("s3a://bucket").resolve("x.csv").unwrap(), "s3a://bucket/x.csv");
    }

    #[test]
    fn what_lies_on_no_disk_is_refused_by_name() {
        let base = StoreBase::new("s3://bucket/projects/shop");
        for (written, words) in [
            ("../../../x.csv", "leads out of the bucket `bucket`"),
            (
                "sqlite:data/shop.db",
                "a SQLite file is read from a disk, and the project lies in s3://bucket/projects/shop",
            ),
            ("sqlite://data/shop.db", "a SQLite file is read from a disk"),
            ("file:../api/products", "`file:` is read from a disk"),
        ] {
            let error = base.resolve(written).unwrap_err();
            assert_eq!(error.code(), codes::CONFIG);
            assert!(error.message().contains(words) && error.message().contains(written), "{error}");
            assert!(error.hint_text().is_some());
        }
    }
}
