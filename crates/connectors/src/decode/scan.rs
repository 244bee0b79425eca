//! Reads one JSON text token by token, strictly (RFC 8259), without building anything.

use memchr::memchr;

/// Deeper nesting than this is refused.
pub(super) const DEPTH_MAX: usize = 128;

/// Why a text is not JSON, and at which byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Syntax {
    pub at: usize,
    pub what: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Token<'a> {
    Null,
    Bool(bool),
    /// As written.
    Number(&'a str),
    Text(Text<'a>),
    /// `[` was read; go on with [`Scanner::item`].
    List,
    /// `{` was read; go on with [`Scanner::key`].
    Object,
}

/// The inside of a string literal. Its escapes were checked.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Text<'a> {
    raw: &'a str,
    escaped: bool,
}

impl<'a> Text<'a> {
    /// The text itself; `scratch` is used only if there are escapes.
    #[inline(always)]
    pub fn decode<'s>(self, scratch: &'s mut String) -> &'s str
    where
        'a: 's,
    {
        if self.escaped { unescaped(self.raw, scratch) } else { self.raw }
    }
}

pub(super) struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Scanner<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while let Some(byte) = bytes.get(self.at) {
            if *byte > b' ' || !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(*byte);
            }
            self.at += 1;
        }
        None
    }

    fn fail<T>(&self, what: &'static str) -> Result<T, Syntax> {
        Err(Syntax { at: self.at, what })
    }

    fn expected<T>(&self, what: &'static str) -> Result<T, Syntax> {
        if self.at >= self.text.len() { self.fail("it ends too early") } else { self.fail(what) }
    }

    /// The next value, or its opening bracket.
    // By a call, the token would be written to memory in parts and read back as a whole, for which the processor waits.
    #[inline(always)]
    pub fn token(&mut self) -> Result<Token<'a>, Syntax> {
        match self.peek() {
            Some(b'"') => self.string().map(Token::Text),
            Some(b'-' | b'0'..=b'9') => self.number().map(Token::Number),
            Some(b'{') => {
                self.at += 1;
                Ok(Token::Object)
            }
            Some(b'[') => {
                self.at += 1;
                Ok(Token::List)
            }
            Some(b'n') => self.literal("null", Token::Null),
            Some(b't') => self.literal("true", Token::Bool(true)),
            Some(b'f') => self.literal("false", Token::Bool(false)),
            _ => self.expected("a value was expected"),
        }
    }

    /// The next key of an object, its colon read too; `None` after the closing brace.
    #[inline]
    pub fn key(&mut self, first: bool) -> Result<Option<Text<'a>>, Syntax> {
        match self.peek() {
            Some(b'}') => {
                self.at += 1;
                return Ok(None);
            }
            Some(b',') if !first => {
                self.at += 1;
                self.peek();
            }
            _ if first => {}
            _ => return self.expected("`,` or `}` was expected"),
        }
        if self.text.as_bytes().get(self.at) != Some(&b'"') {
            return self.expected("a name in quotes was expected");
        }
        let key = self.string()?;
        if self.peek() != Some(b':') {
            return self.expected("`:` was expected");
        }
        self.at += 1;
        Ok(Some(key))
    }

    /// The next key of an object, its colon read too, if `known` can tell what it is: given the text behind the
    /// quote, it says how much of it the key takes up. `None`: nothing was read.
    #[inline]
    pub fn known_key<T>(
        &mut self,
        first: bool,
        known: impl FnOnce(&[u8]) -> Option<(T, usize)>,
    ) -> Option<T> {
        let before = self.at;
        let key = self.before_key(first).and_then(known);
        let (key, length) = match key {
            Some(key) => key,
            None => {
                self.at = before;
                return None;
            }
        };
        self.at += 1 + length;
        Some(key)
    }

    /// Goes to the quote of the next key; what is behind it.
    #[inline]
    fn before_key(&mut self, first: bool) -> Option<&'a [u8]> {
        let mut byte = self.peek();
        if !first {
            if byte != Some(b',') {
                return None;
            }
            self.at += 1;
            byte = self.peek();
        }
        (byte == Some(b'"')).then(|| &self.text.as_bytes()[self.at + 1..])
    }

    /// Whether another item of a list follows; `false` after the closing bracket.
    #[inline]
    pub fn item(&mut self, first: bool) -> Result<bool, Syntax> {
        match self.peek() {
            Some(b']') => {
                self.at += 1;
                return Ok(false);
            }
            Some(b',') if !first => {
                self.at += 1;
                if self.peek() == Some(b']') {
                    return self.fail("a value was expected");
                }
            }
            _ if first => {}
            _ => return self.expected("`,` or `]` was expected"),
        }
        Ok(true)
    }

    /// Reads the rest of a value whose first token was `token`. `depth` is that of the value.
    pub fn skip(&mut self, token: Token<'_>, depth: usize) -> Result<(), Syntax> {
        let mut first = true;
        match token {
            Token::Object | Token::List if depth > DEPTH_MAX => return self.fail("it is nested too deeply"),
            Token::Object => {
                while self.key(first)?.is_some() {
                    first = false;
                    let token = self.token()?;
                    self.skip(token, depth + 1)?;
                }
            }
            Token::List => {
                while self.item(first)? {
                    first = false;
                    let token = self.token()?;
                    self.skip(token, depth + 1)?;
                }
            }
            Token::Null | Token::Bool(_) | Token::Number(_) | Token::Text(_) => {}
        }
        Ok(())
    }

    /// The text of the next value, all of which is read. `depth` is that of the value.
    pub fn value(&mut self, depth: usize) -> Result<&'a str, Syntax> {
        let start = self.start();
        let token = self.token()?;
        self.skip(token, depth)?;
        Ok(self.since(start))
    }

    /// Where the next value starts.
    pub fn start(&mut self) -> usize {
        self.peek();
        self.at
    }

    /// The text from `start` to here.
    pub fn since(&self, start: usize) -> &'a str {
        &self.text[start..self.at]
    }

    /// Checks that nothing follows.
    pub fn end(&mut self) -> Result<(), Syntax> {
        match self.peek() {
            None => Ok(()),
            Some(_) => self.fail("there is more after the value"),
        }
    }

    fn literal(&mut self, word: &'static str, token: Token<'a>) -> Result<Token<'a>, Syntax> {
        if !self.text.as_bytes()[self.at..].starts_with(word.as_bytes()) {
            return self.fail("a value was expected");
        }
        self.at += word.len();
        Ok(token)
    }

    fn number(&mut self) -> Result<&'a str, Syntax> {
        let bytes = self.text.as_bytes();
        let digits = |mut at: usize| {
            while bytes.get(at).is_some_and(u8::is_ascii_digit) {
                at += 1;
            }
            at
        };
        let start = self.at;
        let mut at = start + usize::from(bytes[start] == b'-');
        let whole = at;
        at = digits(at);
        let good = at > whole && (bytes[whole] != b'0' || at == whole + 1);
        let mut more = good;
        if more && bytes.get(at) == Some(&b'.') {
            more = digits(at + 1) > at + 1;
            at = digits(at + 1);
        }
        if more && matches!(bytes.get(at), Some(b'e' | b'E')) {
            let sign = usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-')));
            more = digits(at + 1 + sign) > at + 1 + sign;
            at = digits(at + 1 + sign);
        }
        if !more {
            return self.fail("this is not a number of JSON");
        }
        self.at = at;
        Ok(&self.text[start..at])
    }

    #[inline(always)]
    fn string(&mut self) -> Result<Text<'a>, Syntax> {
        let bytes = self.text.as_bytes();
        let start = self.at + 1;
        let mut at = start;
        let mut escaped = false;
        loop {
            at = plain_end(bytes, at);
            match bytes.get(at) {
                Some(b'"') => {
                    self.at = at + 1;
                    return Ok(Text { raw: &self.text[start..at], escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    match escape_len(&bytes[at..]) {
                        Some(len) => at += len,
                        None => return Err(Syntax { at, what: "this is not an escape of JSON" }),
                    }
                }
                Some(_) => return Err(Syntax { at, what: "a control character stands inside a text" }),
                None => return Err(Syntax { at, what: "it ends in the middle of a text" }),
            }
        }
    }
}

/// First place from `at` on with a quote, a backslash or a control character.
#[inline(always)]
fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    // Most texts end within four words. To look at all of them costs less than a wrong guess in which one.
    while let Some(chunk) = bytes[at..].first_chunk::<32>() {
        let words = chunk.as_chunks::<8>().0;
        let marks: [u64; 4] = std::array::from_fn(|n| marked(words[n]));
        if marks != [0; 4] {
            let first = |n: usize| n * 8 + (marks[n].trailing_zeros() / 8) as usize;
            let half = if marks[0] | marks[1] == 0 { 2 } else { 0 };
            return at + if marks[half] == 0 { first(half + 1) } else { first(half) };
        }
        at += 32;
    }
    while let Some(chunk) = bytes[at..].first_chunk::<8>() {
        let marks = marked(*chunk);
        if marks != 0 {
            return at + (marks.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|b| *b >= 0x20 && *b != b'"' && *b != b'\\') {
        at += 1;
    }
    at
}

/// The high bit of each byte that is a quote, a backslash or a control character, up to the first one of them: behind
/// it others may be marked too.
#[inline(always)]
fn marked(word: [u8; 8]) -> u64 {
    const ONES: u64 = 0x0101_0101_0101_0101;
    const HIGH: u64 = 0x8080_8080_8080_8080;
    let word = u64::from_le_bytes(word);
    let quote = word ^ (ONES * b'"' as u64);
    let backslash = word ^ (ONES * b'\\' as u64);
    let found = (quote.wrapping_sub(ONES) & !quote)
        | (backslash.wrapping_sub(ONES) & !backslash)
        | (word.wrapping_sub(ONES * 0x20) & !word);
    found & HIGH
}

/// Length of the escape at the start of `bytes`, both halves of a surrogate pair included.
fn escape_len(bytes: &[u8]) -> Option<usize> {
    match bytes.get(1)? {
        b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(2),
        b'u' => match hex4(bytes.get(2..6)?)? {
            0xD800..=0xDBFF => {
                let low = bytes.get(6..12)?;
                let pair = low.starts_with(b"\\u") && (0xDC00..=0xDFFF).contains(&hex4(&low[2..])?);
                pair.then_some(12)
            }
            0xDC00..=0xDFFF => None,
            _ => Some(6),
        },
        _ => None,
    }
}

fn hex4(digits: &[u8]) -> Option<u32> {
    digits.iter().try_fold(0, |value, digit| Some(value * 16 + (*digit as char).to_digit(16)?))
}

/// `raw` without its escapes, in `out`. It was checked by [`Scanner::string`].
#[cold]
fn unescaped<'s>(raw: &str, out: &'s mut String) -> &'s str {
    out.clear();
    let mut rest = raw;
    while let Some(at) = memchr(b'\\', rest.as_bytes()) {
        out.push_str(&rest[..at]);
        let escape = &rest.as_bytes()[at..];
        let len = escape_len(escape).unwrap_or(escape.len());
        out.push(match escape.get(1) {
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => unicode(&escape[..len]),
            other => other.map_or(char::REPLACEMENT_CHARACTER, |b| *b as char),
        });
        rest = &rest[at + len..];
    }
    out.push_str(rest);
    out
}

fn unicode(escape: &[u8]) -> char {
    let half = |at: usize| escape.get(at..at + 4).and_then(hex4);
    let code = match (half(2), half(8)) {
        (Some(high), Some(low)) => 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00),
        (Some(code), None) => code,
        _ => return char::REPLACEMENT_CHARACTER,
    };
    char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// Where the value at the start of `bytes` ends, by brackets and strings alone.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Extent {
    Ends(usize),
    /// `bytes` ends first.
    Open,
}

/// Cuts a value out of a stream; whether it is right inside is for [`Scanner`] to say.
pub(super) fn extent(bytes: &[u8]) -> Extent {
    let mut depth = 0usize;
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => match string_extent(bytes, at + 1) {
                Some(end) => at = end,
                None => return Extent::Open,
            },
            b'{' | b'[' => {
                depth += 1;
                at += 1;
            }
            b'}' | b']' if depth == 0 => return Extent::Ends(at),
            b'}' | b']' => {
                depth -= 1;
                at += 1;
                if depth == 0 {
                    return Extent::Ends(at);
                }
            }
            b',' if depth == 0 => return Extent::Ends(at),
            _ => at += 1,
        }
    }
    Extent::Open
}

fn string_extent(bytes: &[u8], mut at: usize) -> Option<usize> {
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
        if at > bytes.len() {
            return None;
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str) -> Result<(), Syntax> {
        let mut scanner = Scanner::new(text);
        let token = scanner.token()?;
        scanner.skip(token, 0)?;
        scanner.end()
    }

    #[test]
    fn the_first_mark_is_found_at_any_place() {
        for length in 0..70 {
            let plain = vec![0xC3; length];
            assert_eq!(plain_end(&plain, 0), length);
            for (at, mark) in (0..length).flat_map(|at| [(at, b'"'), (at, b'\\'), (at, 0), (at, 0x1F)]) {
                let mut bytes = plain.clone();
                bytes[at] = mark;
                for behind in at + 1..length {
                    bytes[behind] = [b'!', b'"', 0x20, 0x80][behind % 4];
                }
                let begins = [0, at / 2, at];
                assert!(
                    begins.iter().all(|begin| plain_end(&bytes, *begin) == at),
                    "{mark} at {at} of {length}"
                );
            }
        }
    }

    #[test]
    fn only_json_is_taken() {
        for good in [
            "null",
            " true ",
            "-0",
            "1.5e-7",
            "\"\"",
            "[]",
            "{}",
            "[1,[2,{\"a\":null}]]",
            r#""\u00e9\ud83d\ude00\"\\\/""#,
            "{\"a\":1,\"a\":2}",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "nul",
            "NaN",
            "Infinity",
            "01",
            "1.",
            ".5",
            "+1",
            "1e",
            "-",
            "[1,]",
            "[,1]",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\" 1}",
            "[1 2]",
            "{\"a\":1 \"b\":2}",
            "1 2",
            "\"a",
            "\"\\x\"",
            "\"\\ud800\"",
            "\"\\udc00\"",
            "\"\u{1}\"",
            "[",
            "{",
            "{\"a\"",
            "{\"a\":",
            "'a'",
            "]",
            "\"\\u12\"",
        ] {
            assert!(check(bad).is_err(), "{bad}");
        }
        assert_eq!(check(&("[".repeat(DEPTH_MAX + 1) + &"]".repeat(DEPTH_MAX + 1))), Ok(()));
        assert_eq!(check(&"[".repeat(100_000)).unwrap_err().what, "it is nested too deeply");
    }

    #[test]
    fn a_value_is_cut_out_of_a_stream() {
        assert_eq!(extent(b"{\"a\":\"}\\\"\"},1"), Extent::Ends(11));
        assert_eq!(extent(b"12, 3"), Extent::Ends(2));
        assert_eq!(extent(b"12]"), Extent::Ends(2));
        assert_eq!(extent(b"[[1],\"\\"), Extent::Open);
        assert_eq!(extent(b"12"), Extent::Open);
    }

    proptest! {
        #[test]
        fn texts_survive(text in any::<String>()) {
            let json = serde_json::to_string(&text).unwrap();
            let mut scratch = String::new();
            match Scanner::new(&json).token().unwrap() {
                Token::Text(read) => prop_assert_eq!(read.decode(&mut scratch), text),
                other => prop_assert!(false, "{:?}", other),
            }
            prop_assert_eq!(extent(format!("{json},").as_bytes()), Extent::Ends(json.len()));
        }

        /// A stricter or laxer reading than that of a well-tried parser is a defect.
        #[test]
        fn agrees_with_serde_json(text in r#"[\[\]{},:"a\\u0-9eE.+\- tn]{0,24}"#) {
            prop_assert_eq!(check(&text).is_ok(), serde_json::from_str::<serde::de::IgnoredAny>(&text).is_ok(), "{}", text);
        }
    }
}
