//! Charts, read back: what they show is what they were given.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use resvg::tiny_skia::Pixmap;
use roxmltree::{Document, Node};
use tributary_plot::chart::{Axis, AxisScale, Chart, Line, Panel};
use tributary_plot::png;

fn classed<'a, 'i>(node: Node<'a, 'i>, class: &str) -> Vec<Node<'a, 'i>> {
    let has = |node: &Node| node.attribute("class").is_some_and(|classes| classes.split(' ').any(|c| c == class));
    node.descendants().filter(has).collect()
}

fn text(node: Node<'_, '_>) -> String {
    node.children().filter(Node::is_text).filter_map(|child| child.text()).collect()
}

fn title(node: Node<'_, '_>) -> String {
    node.children().find(|child| child.has_tag_name("title")).unwrap().text().unwrap_or_default().to_owned()
}

fn number(node: Node<'_, '_>, attribute: &str) -> f64 {
    node.attribute(attribute).unwrap().parse().unwrap()
}

/// The runs of points that a path goes through, in pixels.
fn path(node: Node<'_, '_>) -> Vec<Vec<(f64, f64)>> {
    let point = |point: &str| {
        let (x, y) = point.split_once(' ').unwrap();
        (x.parse().unwrap(), y.parse().unwrap())
    };
    let runs = node.attribute("d").unwrap().split('M').skip(1);
    runs.map(|run| run.split('L').map(point).collect()).collect()
}

/// From pixels to the numbers of an axis, as its first and last tick say; `offset` is from a tick's text to its place.
fn axis(panel: Node<'_, '_>, class: &str, coordinate: &str, offset: f64, scale: AxisScale) -> impl Fn(f64) -> f64 {
    let height = move |value: f64| if scale == AxisScale::Logarithmic { value.log10() } else { value };
    let ticks: Vec<(f64, f64)> = classed(panel, class)
        .into_iter()
        .map(|tick| (number(tick, coordinate) - offset, height(text(tick).replace(',', "").parse().unwrap())))
        .collect();
    let ((from, least), (to, most)) = (ticks[0], ticks[ticks.len() - 1]);
    move |pixel| {
        let found = least + (pixel - from) / (to - from) * (most - least);
        if scale == AxisScale::Logarithmic { 10.0_f64.powf(found) } else { found }
    }
}

fn line(name: &str, colour: usize, shade: usize, points: Vec<(f64, f64)>) -> Line {
    Line { name: name.to_owned(), colour, shade, points }
}

fn chart(scale: AxisScale, panels: usize) -> Chart {
    let axis = |label| if scale == AxisScale::Logarithmic { Axis::logarithmic(label) } else { Axis::linear(label) };
    let points = |shift: usize, count: usize| {
        (0..count)
            .map(|at| (10.0 + (at * 37 % 1900) as f64, 0.003 + ((at + shift) * 61 % 997) as f64 / 300.0))
            .collect()
    };
    let panel = |index| Panel {
        title: format!("panel {index}"),
        x: axis("step"),
        y: axis("loss"),
        lines: vec![line("few", 0, 0, points(index, 12)), line("many", 1, 1, points(index + 5, 300))],
    };
    Chart {
        title: "A chart".to_owned(),
        subtitle: "of two lines".to_owned(),
        colours: vec!["red <&> \"green\"".to_owned(), "blue".to_owned()],
        shades: vec!["strong".to_owned(), "weak".to_owned()],
        panels: (0..panels).map(panel).collect(),
        remarks: vec!["said below".to_owned()],
    }
}

#[test]
fn every_point_is_where_the_ticks_say() {
    for scale in [AxisScale::Linear, AxisScale::Logarithmic] {
        for panels in [1, 2, 5, 13] {
            let chart = chart(scale, panels);
            let svg = chart.svg();
            let svg = Document::parse(&svg).unwrap();
            let drawn = classed(svg.root_element(), "panel");
            assert_eq!(drawn.len(), panels);
            for (panel, given) in drawn.into_iter().zip(&chart.panels) {
                assert_eq!(text(classed(panel, "panel-title")[0]), given.title);
                let of_x = axis(panel, "x-tick", "x", 0.0, scale);
                let of_y = axis(panel, "y-tick", "y", 3.5, scale);
                // The first line is on top, so it is drawn last.
                for (path_of, line) in classed(panel, "line").into_iter().rev().zip(&given.lines) {
                    assert_eq!(title(path_of), line.name);
                    let runs = path(path_of);
                    assert_eq!(runs.len(), 1);
                    assert_eq!(runs[0].len(), line.points.len());
                    for (&(x, y), &(given_x, given_y)) in runs[0].iter().zip(&line.points) {
                        // Pixels have two decimals, and the ticks are more than 20 apart.
                        let near = |found: f64, given: f64, span: f64| match scale {
                            AxisScale::Linear => (found - given).abs() < 2e-3 * span,
                            AxisScale::Logarithmic => (found / given - 1.0).abs() < 1e-2,
                        };
                        assert!(near(of_x(x), given_x, 1900.0) && near(of_y(y), given_y, 3.0), "{line:?}: {x} {y}");
                    }
                }
                // Of the line with few points each is marked.
                assert_eq!(classed(panel, "point").len(), 12);
            }
            let legend: Vec<String> = classed(svg.root_element(), "legend").into_iter().map(text).collect();
            assert_eq!(legend, ["red <&> \"green\"", "blue", "strong", "weak"]);
        }
    }
}

/// Lines that differ have another stroke, and all of the picture is on the page.
#[test]
fn colours_and_shades_are_those_of_the_legend() {
    let chart = chart(AxisScale::Linear, 1);
    let svg = chart.svg();
    let parsed = Document::parse(&svg).unwrap();
    let stroke = |node: Node<'_, '_>| ["stroke", "stroke-opacity"].map(|name| node.attribute(name).unwrap().to_owned());
    let lines: Vec<[String; 2]> = classed(parsed.root_element(), "line").into_iter().rev().map(stroke).collect();
    let signs: Vec<[String; 2]> = parsed
        .descendants()
        .filter(|node| node.has_tag_name("line") && node.attribute("stroke-width") == Some("2.2"))
        .map(stroke)
        .collect();
    assert_eq!(lines.iter().map(|line| &line[0]).collect::<Vec<_>>(), [&signs[0][0], &signs[1][0]]);
    assert_eq!(lines.iter().map(|line| &line[1]).collect::<Vec<_>>(), [&signs[2][1], &signs[3][1]]);
    let picture = Pixmap::decode_png(&png(&svg, 1.0).unwrap().bytes).unwrap();
    let has = |colour: &str| {
        let channel = |at| u8::from_str_radix(&colour[at..at + 2], 16).unwrap();
        let wanted = [1, 3, 5].map(channel);
        picture.pixels().iter().any(|pixel| [pixel.red(), pixel.green(), pixel.blue()] == wanted)
    };
    assert!(signs[..2].iter().all(|sign| has(&sign[0])));
}

#[test]
fn what_cannot_be_drawn_breaks_the_line_and_is_counted() {
    let odd = vec![(0.0, 1.0), (1.0, f64::NAN), (2.0, 3.0), (3.0, 4.0), (4.0, -1.0), (5.0, f64::INFINITY), (6.0, 9.0)];
    let panel = |y| Panel { x: Axis::linear("x"), y, lines: vec![line("odd", 0, 0, odd.clone())], ..Panel::default() };
    let none = Panel { lines: vec![line("none", 0, 0, vec![(f64::NAN, 1.0)]), Line::default()], ..Panel::default() };
    let chart = Chart {
        panels: vec![panel(Axis::linear("y")), panel(Axis::logarithmic("y")), none],
        colours: vec!["c".to_owned()],
        ..Chart::default()
    };
    let svg = chart.svg();
    assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
    let parsed = Document::parse(&svg).unwrap();
    let lengths: Vec<Vec<usize>> = classed(parsed.root_element(), "line")
        .into_iter()
        .map(|line| path(line).iter().map(Vec::len).collect())
        .collect();
    // A point by itself is a line to where it is. The empty line and the one without numbers are the last, in any order.
    assert_eq!(lengths[..2], [vec![2, 3, 2], vec![2, 2, 2]]);
    assert!(lengths[2..].iter().all(Vec::is_empty));
    let remarks: Vec<String> = classed(parsed.root_element(), "remark").into_iter().map(text).collect();
    assert!(remarks[0].starts_with("6 points are no finite numbers"), "{remarks:?}");
    png(&svg, 1.0).unwrap();
    png(&Chart::default().svg(), 1.0).unwrap();
}

/// Two ticks of an axis never cover each other.
#[test]
fn ticks_have_room() {
    for (least, most) in [(0.0, 1.0), (0.0, 2000.0), (1e-7, 3e-7), (12_345_678.0, 12_345_999.0), (-1e5, 1e5)] {
        for panels in [1, 3] {
            let panel = Panel {
                x: Axis::linear("x"),
                y: Axis::linear("y"),
                lines: vec![line("line", 0, 0, vec![(least, least), (most, most)])],
                ..Panel::default()
            };
            let svg = Chart { panels: vec![panel; panels], colours: vec!["c".to_owned()], ..Chart::default() }.svg();
            let parsed = Document::parse(&svg).unwrap();
            let panel = classed(parsed.root_element(), "panel")[0];
            let ticks = classed(panel, "x-tick");
            assert!(ticks.len() >= 2, "{least} {most}");
            for pair in ticks.windows(2) {
                // No character is wider than its size, 9.5; digits are less than two thirds of it.
                let apart = number(pair[1], "x") - number(pair[0], "x");
                assert!(
                    apart > 6.5 * text(pair[1]).len() as f64,
                    "{least} {most}: {apart} pixels for {:?}",
                    text(pair[1])
                );
            }
        }
    }
}
