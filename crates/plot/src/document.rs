//! SVG documents, written.
//!
//! Every text goes through [`visible`] and the writer's escaping, so that no name of a set or token is taken for markup.

use std::io::Cursor;

use quick_xml::Writer;
use quick_xml::events::{BytesEnd, BytesStart, BytesText, Event};

use crate::palette;
use crate::text::{FONT_FAMILY, visible};

/// A length with at most two decimals: more are not seen, and differ between machines.
pub(crate) fn px(length: f64) -> String {
    let text = format!("{length:.2}");
    let text = text.trim_end_matches('0').trim_end_matches('.');
    if text == "-0" { "0".to_owned() } else { text.to_owned() }
}

/// The document while it is written. Writing to memory does not fail.
pub(crate) struct Svg {
    writer: Writer<Cursor<Vec<u8>>>,
}

impl Svg {
    /// A page of a size in pixels, with nothing on it.
    pub(crate) fn begin((width, height): (f64, f64), title: &str) -> Self {
        let mut out = Self { writer: Writer::new(Cursor::new(Vec::new())) };
        out.open(
            "svg",
            &[
                ("xmlns", "http://www.w3.org/2000/svg".to_owned()),
                ("width", px(width)),
                ("height", px(height)),
                ("viewBox", format!("0 0 {} {}", px(width), px(height))),
                ("font-family", FONT_FAMILY.to_owned()),
            ],
        );
        out.text_element("title", &[], title);
        out.rect((0.0, 0.0), (width, height), palette::BACKGROUND);
        out
    }

    fn event(&mut self, event: Event<'_>) {
        self.writer.write_event(event).unwrap_or_else(|error| unreachable!("{error}"));
    }

    fn start<'e, V: AsRef<str>>(name: &'e str, attributes: &'e [(&'e str, V)]) -> BytesStart<'e> {
        let attributes = attributes.iter().map(|(key, value)| (*key, value.as_ref()));
        BytesStart::new(name).with_attributes(attributes)
    }

    fn line_break(&mut self) {
        self.event(Event::Text(BytesText::from_escaped("\n")));
    }

    pub(crate) fn open<V: AsRef<str>>(&mut self, name: &str, attributes: &[(&str, V)]) {
        self.event(Event::Start(Self::start(name, attributes)));
    }

    pub(crate) fn close(&mut self, name: &str) {
        self.event(Event::End(BytesEnd::new(name)));
        self.line_break();
    }

    pub(crate) fn element<V: AsRef<str>>(&mut self, name: &str, attributes: &[(&str, V)]) {
        self.event(Event::Empty(Self::start(name, attributes)));
        self.line_break();
    }

    pub(crate) fn text_element(&mut self, name: &str, attributes: &[(&str, String)], text: &str) {
        self.open(name, attributes);
        self.event(Event::Text(BytesText::new(&visible(text))));
        self.event(Event::End(BytesEnd::new(name)));
    }

    pub(crate) fn rect(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), fill: &str) {
        let (x, y, width, height) = (px(x), px(y), px(width), px(height));
        self.element("rect", &[("x", &*x), ("y", &y), ("width", &width), ("height", &height), ("fill", fill)]);
    }

    pub(crate) fn circle(&mut self, (x, y): (f64, f64), radius: f64, attributes: &[(&str, String)], title: &str) {
        let mut all = vec![("cx", px(x)), ("cy", px(y)), ("r", px(radius))];
        all.extend(attributes.iter().map(|(key, value)| (*key, value.clone())));
        self.open("circle", &all);
        self.text_element("title", &[], title);
        self.close("circle");
    }

    pub(crate) fn text(&mut self, at: (f64, f64), text: &str, attributes: &[(&str, &str)]) {
        self.titled_text(at, text, attributes, text);
    }

    /// A text whose title is what it was cut from.
    pub(crate) fn titled_text(&mut self, (x, y): (f64, f64), text: &str, attributes: &[(&str, &str)], full: &str) {
        let mut all = vec![("x", px(x)), ("y", px(y))];
        all.extend(attributes.iter().map(|(key, value)| (*key, (*value).to_owned())));
        self.open("text", &all);
        if visible(full) != text {
            self.text_element("title", &[], full);
        }
        self.event(Event::Text(BytesText::new(&visible(text))));
        self.close("text");
    }

    pub(crate) fn finish(mut self) -> String {
        self.close("svg");
        let bytes = self.writer.into_inner().into_inner();
        String::from_utf8(bytes).unwrap_or_else(|error| unreachable!("{error}"))
    }
}
