//! Pixels.

use std::sync::{Arc, LazyLock};

use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::fontdb::Database;
use resvg::usvg::{Options, Tree};

use crate::{PlotError, text};

/// Pixels of a picture at most, and along one side. Larger figures are scaled down.
const AREA: f64 = 64e6;
const SIDE: f64 = 16_000.0;

/// A picture.
#[derive(Clone, Debug)]
pub struct Png {
    /// The file.
    pub bytes: Vec<u8>,
    /// Pixels of the picture per pixel of the figure: what was asked for, or less where that is too large.
    pub scale: f64,
}

static BUNDLED: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::new();
    fonts.load_font_data(text::font().to_vec());
    Arc::new(fonts)
});

/// The bundled font, and after it those of the system, if there are any: for text that the bundled one cannot show.
static WITH_SYSTEM: LazyLock<Arc<Database>> = LazyLock::new(|| {
    let mut fonts = Database::clone(&BUNDLED);
    fonts.load_system_fonts();
    Arc::new(fonts)
});

/// A figure of which a picture can be drawn.
#[derive(Clone, Debug)]
pub struct Drawing {
    tree: Tree,
    scale: f64,
    width: u32,
    height: u32,
}

impl Drawing {
    /// Bytes of memory that [`new`](Self::new) takes for an SVG: outlines of glyphs above all.
    pub fn memory_of(svg: &str) -> u64 {
        // As measured of 220 kB to 1.3 MB, and a fifth more.
        (12 << 20) + 10 * svg.len() as u64
    }

    /// A figure's SVG, to be drawn with `scale` pixels per pixel.
    pub fn new(svg: &str, scale: f64) -> Result<Self, PlotError> {
        let fontdb = Arc::clone(if text::has_all_glyphs(svg) { &BUNDLED } else { &WITH_SYSTEM });
        let options = Options { fontdb, ..Options::default() };
        let tree = Tree::from_str(svg, &options).map_err(|error| PlotError::Pixels(error.to_string()))?;
        let (width, height) = (f64::from(tree.size().width()), f64::from(tree.size().height()));
        let scale = scale.min((AREA / (width * height)).sqrt()).min(SIDE / width.max(height));
        #[expect(clippy::cast_sign_loss, reason = "at least 1")]
        let pixels = |length: f64| (length * scale).ceil().max(1.0) as u32;
        let (width, height) = (pixels(width), pixels(height));
        Ok(Self { tree, scale, width, height })
    }

    /// Bytes of memory that [`png`](Self::png) takes: the picture, a layer of what is transparent, a copy that is written, and what is
    /// written.
    pub fn memory(&self) -> u64 {
        4 * 4 * u64::from(self.width) * u64::from(self.height)
    }

    /// Draws it.
    pub fn png(&self) -> Result<Png, PlotError> {
        let fail = |reason: String| PlotError::Pixels(reason);
        let (width, height, scale) = (self.width, self.height, self.scale as f32);
        let mut pixmap =
            Pixmap::new(width, height).ok_or_else(|| fail(format!("it would be {width} by {height} pixels")))?;
        resvg::render(&self.tree, Transform::from_scale(scale, scale), &mut pixmap.as_mut());
        let bytes = pixmap.encode_png().map_err(|error| fail(error.to_string()))?;
        Ok(Png { bytes, scale: self.scale })
    }
}

/// Draws a figure's SVG with `scale` pixels per pixel.
pub fn png(svg: &str, scale: f64) -> Result<Png, PlotError> {
    Drawing::new(svg, scale)?.png()
}
