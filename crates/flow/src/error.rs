//! One error type for the whole product: what happened, where, and what to do next.

use std::fmt;

use crate::Code;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Who has to act. It decides the retry (only [`Blame::Outside`]) and the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// The command line or the project's files; nothing was run. Exit 2.
    Usage,
    /// The data or the answer of a source is wrong, a check failed. Trying again changes nothing. Exit 1.
    Data,
    /// Something outside is down, slow, throttled or locked. Trying again may help. Exit 75.
    Outside,
    /// A defect of Lagar. Exit 70.
    Lagar,
    /// The user asked to stop. Exit 130 or 143.
    Stopped,
}

/// A place in a file of the project. Lines and columns count from 1; 0 means unknown.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place {
    pub file: String,
    pub line: usize,
    pub column: usize,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.file.is_empty() {
            // A text that is in no file: a query from the command line.
            return write!(f, "line {}, column {}", self.line, self.column);
        }
        match (self.line, self.column) {
            (0, _) => write!(f, "{}", self.file),
            (line, 0) => write!(f, "{}:{line}", self.file),
            (line, column) => write!(f, "{}:{line}:{column}", self.file),
        }
    }
}

/// Boxed, so that `Result<T>` stays small on the path where nothing fails.
#[derive(Debug, Clone)]
pub struct Error(Box<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    code: Code,
    message: String,
    hint: Option<String>,
    place: Option<Place>,
    /// Outermost first, as text: a cause may hold a secret in its fields, its text was chosen.
    causes: Vec<String>,
    /// More problems of the same kind, found in the same pass (`lagar check` prints all).
    others: Vec<Error>,
}

impl Error {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            code,
            message: message.into(),
            hint: None,
            place: None,
            causes: Vec::new(),
            others: Vec::new(),
        }))
    }

    /// A state that the code rules out was reached.
    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(crate::codes::BUG, message)
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.0.hint = Some(hint.into());
        self
    }

    pub fn at(mut self, file: impl Into<String>, line: usize, column: usize) -> Self {
        self.0.place = Some(Place { file: file.into(), line, column });
        self
    }

    pub fn at_place(mut self, place: Place) -> Self {
        self.0.place = Some(place);
        self
    }

    /// Adds `cause` and everything below it to "caused by".
    pub fn caused_by(mut self, cause: &(dyn std::error::Error + 'static)) -> Self {
        let mut next = Some(cause);
        while let Some(cause) = next {
            let text = cause.to_string();
            // Many libraries repeat the text of the inner error in the outer one.
            if !self.0.causes.last().is_some_and(|last| last.contains(&text)) {
                self.0.causes.push(text);
            }
            next = cause.source();
        }
        self
    }

    /// One error that carries all of `errors`; `None` if there are none.
    pub fn all(errors: impl IntoIterator<Item = Error>) -> Option<Self> {
        let mut errors = errors.into_iter();
        let mut first = errors.next()?;
        for mut error in errors {
            let nested = std::mem::take(&mut error.0.others);
            first.0.others.push(error);
            first.0.others.extend(nested);
        }
        Some(first)
    }

    /// This error and the others found with it, each alone.
    pub fn each(&self) -> impl Iterator<Item = &Error> {
        std::iter::once(self).chain(self.0.others.iter())
    }

    /// This error without those that were found with it.
    pub fn alone(&self) -> Self {
        Self(Box::new(Inner { others: Vec::new(), ..(*self.0).clone() }))
    }

    pub fn code(&self) -> Code {
        self.0.code
    }
    pub fn blame(&self) -> Blame {
        self.0.code.blame
    }
    pub fn message(&self) -> &str {
        &self.0.message
    }
    pub fn hint_text(&self) -> Option<&str> {
        self.0.hint.as_deref()
    }
    pub fn place(&self) -> Option<&Place> {
        self.0.place.as_ref()
    }
    pub fn causes(&self) -> &[String] {
        &self.0.causes
    }
    pub fn is_retryable(&self) -> bool {
        self.blame() == Blame::Outside
    }

    /// Puts `context` in front of the message: "source `orders`: …".
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// The same error without what `secrets` knows.
    pub fn without(mut self, secrets: &crate::Redactor) -> Self {
        let inner = &mut *self.0;
        inner.message = secrets.text(&inner.message);
        inner.hint = inner.hint.take().map(|hint| secrets.text(&hint));
        inner.causes.iter_mut().for_each(|cause| *cause = secrets.text(cause));
        inner.others = std::mem::take(&mut inner.others).into_iter().map(|e| e.without(secrets)).collect();
        self
    }

    /// `{code,message,hint,file,line,column}` of the machine-readable output.
    pub fn to_json(&self) -> serde_json::Value {
        let place = self.place();
        serde_json::json!({
            "code": self.0.code.id,
            "message": self.message_with_causes(),
            "hint": self.0.hint,
            "file": place.map(|p| &p.file).filter(|file| !file.is_empty()),
            "line": place.map(|p| p.line).filter(|l| *l > 0),
            "column": place.map(|p| p.column).filter(|c| *c > 0),
        })
    }

    /// The message and its causes in one line.
    pub fn message_with_causes(&self) -> String {
        let mut text = self.0.message.clone();
        for cause in &self.0.causes {
            text.push_str(": ");
            text.push_str(cause);
        }
        text
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message_with_causes())
    }
}

impl std::error::Error for Error {}
