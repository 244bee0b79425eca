//! Pages for a browser. A page needs no other file and runs no script: it can be mailed, and opened where nothing of
//! the net is reached.

/// What all pages look like, in light and in dark.
const STYLE: &str = include_str!("page.css");

/// One page.
#[derive(Debug, Clone, Copy)]
pub struct Page<'a> {
    /// What it is about: text.
    pub title: &'a str,
    /// CSS beside that of all pages; `--width` says how wide a page may be.
    pub style: &'a str,
    /// What stands below the title: HTML.
    pub header: &'a str,
    /// All else: HTML.
    pub body: &'a str,
}

impl Page<'_> {
    /// One self-contained HTML file.
    pub fn html(&self) -> String {
        let Self { title, style, header, body } = *self;
        let title = escape(title);
        format!(
            r#"<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
{STYLE}{style}</style>
</head>
<body>
<header>
<h1>{title}</h1>
{header}</header>
{body}</body>
</html>
"#
        )
    }
}

/// Text as HTML text, also inside of quotation marks.
pub fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c if c.is_control() => escaped.push('\u{fffd}'),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_of_a_text_is_taken_for_html() {
        assert_eq!(
            escape("<script>alert(\"1\")</script> & 'x'\u{0}"),
            "&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt; &amp; &#39;x&#39;\u{fffd}"
        );
    }

    #[test]
    fn a_page_has_its_title_its_style_and_its_body() {
        let page = Page {
            title: "</title><b>",
            style: ":root { --width: 9rem; }\n",
            header: "<p>below</p>\n",
            body: "<main></main>\n",
        };
        let html = page.html();
        for part in [
            "<title>&lt;/title&gt;&lt;b&gt;</title>",
            "<h1>&lt;/title&gt;&lt;b&gt;</h1>\n<p>below</p>\n</header>\n<main></main>\n</body>\n</html>\n",
            "default-src 'none'",
            "--width: 9rem; }\n</style>",
        ] {
            assert!(html.contains(part), "{part} is not in\n{html}");
        }
    }

    #[test]
    fn the_style_asks_for_nothing_from_elsewhere() {
        for word in ["url(", "@import", "http", "</style"] {
            assert!(!STYLE.contains(word), "{word}");
        }
    }
}
