//! Words, numbers and bars for people: in one line, of a known width, and nothing but what they look like.
//!
//! Names and values come from the data of others: nothing in them steers a terminal.

/// Heights in eight steps.
const HEIGHTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];

/// A bar as high as `share` of a line (0 to 1). The lowest is seen, too.
pub fn height(share: f64) -> char {
    HEIGHTS[((share * 8.0).ceil() as usize).clamp(1, 8) - 1]
}

/// `1234567` → `1,234,567`
pub fn thousands(count: u64) -> String {
    grouped(&count.to_string())
}

/// [`thousands`] of digits, however many there are.
pub fn grouped(digits: &str) -> String {
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// `1 row`, `2 rows`
pub fn counted(count: u64, what: &str) -> String {
    let plural = match what {
        _ if count == 1 => "",
        what if what.ends_with("series") => "",
        what if what.ends_with('s') => "es",
        _ => "s",
    };
    format!("{} {what}{plural}", thousands(count))
}

/// In one line and without what steers a terminal, turns the direction of writing or cannot be seen. What joins
/// letters or chooses their shape stays: many scripts are not written without.
pub fn line(text: &str) -> String {
    let replaced = |c: char| match c {
        '\n' | '\r' | '\t' => '␤',
        c if c.is_control() => '\u{fffd}',
        '\u{61c}'
        | '\u{200b}'
        | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}'
        | '\u{feff}' => '\u{fffd}',
        '\u{e0000}'..='\u{e00ff}' | '\u{e01f0}'..='\u{e0fff}' => '\u{fffd}',
        c => c,
    };
    text.chars().map(replaced).collect()
}

/// The beginning of a text that is not wider than `width`.
pub fn cut(text: &str, width: usize) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let mut used = 1; // of the dots
    let fits = |c: &char| {
        used += char_width(*c);
        used <= width
    };
    let start: String = text.chars().take_while(fits).collect();
    format!("{}…", start.trim_end())
}

/// With blanks before it (`right`) or behind it, until it is `width` wide.
pub fn padded(text: &str, width: usize, right: bool) -> String {
    let room = " ".repeat(width.saturating_sub(text_width(text)));
    if right { format!("{room}{text}") } else { format!("{text}{room}") }
}

/// How many places of a line it takes.
pub fn text_width(text: &str) -> usize {
    text.chars().map(char_width).sum()
}

/// As most terminals draw it.
pub fn char_width(c: char) -> usize {
    match u32::from(c) {
        0x300..=0x36f | 0x200c..=0x200d | 0xfe00..=0xfe0f | 0xe0100..=0xe01ef => 0,
        0x1100..=0x115f
        | 0x2e80..=0xa4cf
        | 0xac00..=0xd7a3
        | 0xf900..=0xfaff
        | 0xfe30..=0xfe6f
        | 0xff00..=0xff60
        | 0xffe0..=0xffe6
        | 0x1f300..=0x1faff
        | 0x20000..=0x3fffd => 2,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn heights_have_eight_steps() {
        let drawn: String = (0..=8).map(|eighth| height(f64::from(eighth) / 8.0)).collect();
        assert_eq!(drawn, "▁▁▂▃▄▅▆▇█");
        assert_eq!([-1.0, 0.001, 0.126, 2.0, f64::NAN].map(height), ['▁', '▁', '▂', '█', '▁']);
    }

    #[test]
    fn numbers_are_grouped_and_counted() {
        assert_eq!([0, 999, 1_000, 1_234_567].map(thousands), ["0", "999", "1,000", "1,234,567"]);
        assert_eq!(grouped("100000000000000000000000"), "100,000,000,000,000,000,000,000");
        let counted: Vec<String> = [(1, "row"), (2_000, "row"), (3, "series"), (0, "class"), (1, "class")]
            .map(|(count, what)| counted(count, what))
            .to_vec();
        assert_eq!(counted, ["1 row", "2,000 rows", "3 series", "0 classes", "1 class"]);
    }

    #[test]
    fn what_is_not_seen_is_shown_and_what_writing_needs_stays() {
        assert_eq!(line("a\nb\u{1b}[31m\u{202e}c\u{200b}"), "a␤b\u{fffd}[31m\u{fffd}c\u{fffd}");
        assert_eq!(line("\u{feff}\u{2066}\u{e0041}"), "\u{fffd}".repeat(3));
        for written in ["می\u{200c}خواهم", "👩\u{200d}💻", "葛\u{e0100}", "é e\u{301}"] {
            assert_eq!(line(written), written);
        }
        assert_eq!([text_width("می\u{200c}خ"), text_width("葛\u{e0100}"), text_width("e\u{301}")], [3, 2, 1]);
    }

    #[test]
    fn texts_are_cut_and_padded_to_what_they_take_on_the_screen() {
        assert_eq!(cut("abcdef", 6), "abcdef");
        assert_eq!(cut("abcdefg", 6), "abcde…");
        assert_eq!(cut("abcd efg", 6), "abcd…");
        assert_eq!(cut("東京都庁舎", 6), "東京…");
        assert_eq!([padded("東", 4, true), padded("東", 4, false)], ["  東", "東  "]);
        assert_eq!(padded("wider", 2, true), "wider");
    }
}
