//! Takes members out of JSON and leaves every other byte as it was received: numbers are not
//! rewritten, spaces stay.

/// Deeper answers are refused, by the decoder too.
const DEPTH_MAX: usize = 128;

/// `json` (one value, or several with spaces between) without the object members called one of `keys`,
/// at any depth. `Err` says why it is no JSON; nothing of it may then be kept.
pub(crate) fn remove_keys(json: &[u8], keys: &[String]) -> Result<Vec<u8>, String> {
    std::str::from_utf8(json).map_err(|error| format!("it is not UTF-8: {error}"))?;
    let mut scanner = Scanner { json, at: 0, keys, kept: Vec::with_capacity(json.len()) };
    if json.starts_with(b"\xEF\xBB\xBF") {
        scanner.take(3);
    }
    scanner.space();
    while scanner.at < json.len() {
        scanner.value(0)?;
        scanner.space();
    }
    Ok(scanner.kept)
}

struct Scanner<'a> {
    json: &'a [u8],
    at: usize,
    keys: &'a [String],
    kept: Vec<u8>,
}

impl Scanner<'_> {
    fn peek(&self) -> Option<u8> {
        self.json.get(self.at).copied()
    }

    fn take(&mut self, count: usize) {
        self.kept.extend_from_slice(&self.json[self.at..self.at + count]);
        self.at += count;
    }

    fn wrong<T>(&self, expected: &str) -> Result<T, String> {
        Err(format!("expected {expected} at byte {}", self.at))
    }

    fn space(&mut self) {
        let rest = &self.json[self.at..];
        let count = rest.iter().take_while(|b| matches!(b, b' ' | b'\t' | b'\n' | b'\r')).count();
        self.take(count);
    }

    fn value(&mut self, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("it is nested more than {DEPTH_MAX} deep"));
        }
        match self.peek() {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => self.string(),
            _ => self.literal(),
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), String> {
        self.take(1);
        let before_space = self.kept.len();
        self.space();
        if self.peek() == Some(b'}') {
            self.take(1);
            return Ok(());
        }
        // The space belongs to the first member, and goes with it.
        let mut member_start = before_space;
        let mut members_kept = 0;
        loop {
            let name_start = self.at;
            if self.peek() != Some(b'"') {
                return self.wrong("a name in quotes");
            }
            self.string()?;
            let name: String = serde_json::from_slice(&self.json[name_start..self.at])
                .map_err(|_| format!("expected a name in quotes at byte {name_start}"))?;
            self.space();
            if self.peek() != Some(b':') {
                return self.wrong("a colon");
            }
            self.take(1);
            self.space();
            self.value(depth + 1)?;
            self.space();
            if self.keys.contains(&name) {
                self.kept.truncate(member_start);
            } else {
                members_kept += 1;
            }
            match self.peek() {
                Some(b'}') => {
                    self.take(1);
                    return Ok(());
                }
                Some(b',') => {
                    member_start = self.kept.len();
                    if members_kept > 0 {
                        self.kept.push(b',');
                    }
                    self.at += 1;
                    self.space();
                }
                _ => return self.wrong("a comma or }"),
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), String> {
        self.take(1);
        self.space();
        if self.peek() == Some(b']') {
            self.take(1);
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            self.space();
            match self.peek() {
                Some(b']') => {
                    self.take(1);
                    return Ok(());
                }
                Some(b',') => {
                    self.take(1);
                    self.space();
                }
                _ => return self.wrong("a comma or ]"),
            }
        }
    }

    fn string(&mut self) -> Result<(), String> {
        let mut end = self.at + 1;
        loop {
            match self.json.get(end) {
                Some(b'"') => {
                    self.take(end + 1 - self.at);
                    return Ok(());
                }
                Some(b'\\') => end += 2,
                Some(_) => end += 1,
                None => return self.wrong("the end of a text"),
            }
        }
    }

    /// A number, `true`, `false` or `null`.
    fn literal(&mut self) -> Result<(), String> {
        let rest = &self.json[self.at..];
        let is_part = |b: &&u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
        let count = rest.iter().take_while(is_part).count();
        if serde_json::from_slice::<serde::de::IgnoredAny>(&rest[..count]).is_err() {
            return self.wrong("a JSON value");
        }
        self.take(count);
        Ok(())
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn without(json: &str, keys: &[&str]) -> Result<String, String> {
        let keys: Vec<String> = keys.iter().map(|k| (*k).to_owned()).collect();
        remove_keys(json.as_bytes(), &keys).map(|bytes| String::from_utf8(bytes).unwrap())
    }

    #[test]
    fn members_go_and_every_other_byte_stays() {
        for (json, kept) in [
            (r#"{"p":1}"#, r#"{}"#),
            (r#"{"p":1,"a":2}"#, r#"{"a":2}"#),
            (r#"{"a":2,"p":1}"#, r#"{"a":2}"#),
            (r#"{ "a" : 1.10 , "p" : {"a":[1]} , "b":1e400 }"#, r#"{ "a" : 1.10 , "b":1e400 }"#),
            (r#"{"p":1,"p":2,"a":3,"p":4}"#, r#"{"a":3}"#),
            (r#"[{"p":"}\"{"},{"x":{"y":[{"p":null,"z":"p"}]}}]"#, r#"[{},{"x":{"y":[{"z":"p"}]}}]"#),
            (r#"{"\u0070":1,"a":"\\"}"#, r#"{"a":"\\"}"#),
            ("{\"p\":1}\n{\"a\":2}\n", "{}\n{\"a\":2}\n"),
            ("\u{feff}[ ]", "\u{feff}[ ]"),
            ("null", "null"),
            ("", ""),
        ] {
            assert_eq!(without(json, &["p"]).as_deref(), Ok(kept), "{json}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused() {
        for json in
            ["{", "{\"a\"", "{\"a\":}", "{a:1}", "[1,]", "[1 2]", "\"a", "\"a\\", "nul", "{\"a\":1,}", "<p>"]
        {
            assert!(without(json, &["p"]).is_err(), "{json}");
        }
        assert!(remove_keys(b"\"\xff\"", &[]).is_err());
        assert!(without(&"[".repeat(100_000), &[]).unwrap_err().contains("deep"));
    }

    /// The same tree for the same seed.
    fn random_json(next: &mut impl FnMut(usize) -> usize, depth: usize) -> Value {
        const NAMES: &[&str] = &["a", "p", "pp", "\"", "\\", "é", "p\n"];
        match next(if depth == 0 { 3 } else { 6 }) {
            0 => Value::Null,
            1 => Value::from(next(1000)),
            2 => Value::from(NAMES[next(NAMES.len())]),
            3 => (0..next(4)).map(|_| random_json(next, depth - 1)).collect(),
            _ => (0..next(5))
                .map(|_| (NAMES[next(NAMES.len())].to_owned(), random_json(next, depth - 1)))
                .collect(),
        }
    }

    fn removed(value: Value) -> Value {
        match value {
            Value::Object(map) => {
                map.into_iter().filter(|(name, _)| name != "p").map(|(n, v)| (n, removed(v))).collect()
            }
            Value::Array(items) => items.into_iter().map(removed).collect(),
            other => other,
        }
    }

    #[test]
    fn the_same_is_left_as_with_a_parser() {
        for seed in 0..2000 {
            let mut n = 0;
            let mut next = |below: usize| {
                n += 1;
                (super::super::share(seed, n) * below as f64) as usize
            };
            let value = random_json(&mut next, 5);
            for text in [serde_json::to_string_pretty(&value), serde_json::to_string(&value)] {
                let kept = without(&text.unwrap(), &["p"]).unwrap();
                assert_eq!(serde_json::from_str::<Value>(&kept).unwrap(), removed(value.clone()), "{value}");
            }
        }
    }
}
