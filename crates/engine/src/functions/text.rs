//! Texts: white space, what stands for null, postal codes.

use std::sync::Arc;

use arrow::{
    array::{Array, ArrayRef, BooleanArray, StringArray, StringBuilder},
    compute::nullif,
    datatypes::DataType,
};
use datafusion::common::Result as DfResult;

use super::{Call, Function, Takes};

pub(super) const NULL_TOKENS: Function = Function {
    name: "null_tokens",
    syntax: "null_tokens(text)",
    description: "the text as it is, or null if it is one of the project's `null_tokens`, with or without white space around it",
    example: ("null_tokens(' N/A ')", None),
    takes: &[Takes::Text],
    required: 1,
    returns: || DataType::Utf8,
    counts: false,
    apply: |call| without_tokens(call, call.texts()),
};

pub(super) const SQUEEZE: Function = Function {
    name: "squeeze",
    syntax: "squeeze(text)",
    description: "the text without white space at its ends, and with one space for each run of it inside",
    example: ("squeeze('  400 EAST   30 STREET ')", Some("400 EAST 30 STREET")),
    takes: &[Takes::Text],
    required: 1,
    returns: || DataType::Utf8,
    counts: false,
    apply: |call| Ok(Arc::new(squeezed(call.texts()))),
};

pub(super) const CLEAN: Function = Function {
    name: "clean",
    syntax: "clean(text)",
    description: "`null_tokens(squeeze(text))`",
    example: ("clean('  Rat   Sighting ')", Some("Rat Sighting")),
    takes: &[Takes::Text],
    required: 1,
    returns: || DataType::Utf8,
    counts: false,
    apply: |call| without_tokens(call, &squeezed(call.texts())),
};

pub(super) const ZIP_CODE: Function = Function {
    name: "zip_code",
    syntax: "zip_code(text)",
    description: "the five digits of a ZIP code of the USA as text: of `10016-1234`, `100161234` and `10016.0` it is \
                  `10016`; three and four digits lost their zeros on a way through numbers and get them back; \
                  anything else, and what is not from 00501 to 99950, is null and counted",
    example: ("zip_code('11235.0')", Some("11235")),
    takes: &[Takes::Text],
    required: 1,
    returns: || DataType::Utf8,
    counts: true,
    apply: |call| Ok(Arc::new(StringArray::from(call.each(zip_code)))),
};

/// Copies no text.
fn without_tokens(call: &Call<'_>, texts: &StringArray) -> DfResult<ArrayRef> {
    let are_tokens: BooleanArray =
        texts.iter().map(|text| Some(text.is_some_and(|text| call.tokens.has(text)))).collect();
    Ok(nullif(texts, &are_tokens)?)
}

fn squeezed(texts: &StringArray) -> StringArray {
    let mut squeezed = StringBuilder::with_capacity(texts.len(), texts.value_data().len());
    let mut words = String::new();
    for text in texts {
        match text {
            None => squeezed.append_null(),
            Some(text) if is_squeezed(text) => squeezed.append_value(text),
            Some(text) => {
                words.clear();
                for word in text.split_whitespace() {
                    if !words.is_empty() {
                        words.push(' ');
                    }
                    words.push_str(word);
                }
                squeezed.append_value(&words);
            }
        }
    }
    squeezed.finish()
}

/// No white space but single spaces between words. False for what is not ASCII: it has more kinds.
fn is_squeezed(text: &str) -> bool {
    let bytes = text.as_bytes();
    let mut before = b' ';
    for byte in bytes {
        let white = byte.is_ascii_whitespace() || *byte == 0x0b;
        if !byte.is_ascii() || (white && (*byte != b' ' || before == b' ')) {
            return false;
        }
        before = *byte;
    }
    bytes.is_empty() || before != b' '
}

fn zip_code(text: &str) -> Option<String> {
    let number = match text.split_once('.') {
        Some((number, zeros)) if zeros.bytes().all(|byte| byte == b'0') => number,
        Some(_) => return None,
        None => text,
    };
    let (digits, plus_four) = match number.split_once(['-', ' ']) {
        Some((digits, plus_four)) => (digits, Some(plus_four.trim_start())),
        None if number.len() == 9 => (number.get(..5)?, number.get(5..)),
        None => (number, None),
    };
    let are_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if !are_digits(digits) || plus_four.is_some_and(|four| four.len() != 4 || !are_digits(four)) {
        return None;
    }
    // A code with four more digits was never a number, and has all of its own.
    let lengths = if plus_four.is_some() { 5..=5 } else { 3..=5 };
    let code = lengths.contains(&digits.len()).then(|| format!("{digits:0>5}"))?;
    ("00501"..="99950").contains(&code.as_str()).then_some(code)
}
