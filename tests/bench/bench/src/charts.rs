//! The charts of docs/performance.md.

use std::collections::BTreeMap;
use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::figures::{Figures, Row, ratio};
use crate::http::Error;
use crate::measure::Spread;
use crate::throttle::Curve;

/// Readable on white and on black; there is no background.
const INK: RGBColor = RGBColor(128, 128, 128);
const COLOURS: [RGBColor; 6] = [
    RGBColor(76, 114, 176),
    RGBColor(221, 132, 82),
    RGBColor(85, 168, 104),
    RGBColor(196, 78, 82),
    RGBColor(129, 114, 179),
    RGBColor(147, 120, 96),
];
const SIZE: (u32, u32) = (760, 380);
const FONT: (&str, u32) = ("sans-serif", 13);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Writes them all.
pub(crate) fn write(folder: &Path, figures: &Figures) -> Result<(), Error> {
    std::fs::create_dir_all(folder)?;
    draw(&folder.join("instructions.svg"), |area| instructions(area, figures))?;
    draw(&folder.join("wall.svg"), |area| wall(area, figures))?;
    draw(&folder.join("memory.svg"), |area| memory(area, figures))
}

/// Dollars by size of memory: docs/cost/memory.svg.
pub(crate) fn write_memory_sizes(folder: &Path, curves: &[(String, Curve)]) -> Result<(), Error> {
    std::fs::create_dir_all(folder)?;
    draw(&folder.join("memory.svg"), |area| sizes(area, curves))
}

/// A line for each function over the sizes of memory.
fn sizes(area: &Area, curves: &[(String, Curve)]) -> Result<(), Error> {
    let top = curves.iter().flat_map(|(_, points)| points).map(|(_, usd)| *usd).fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(
            "Dollars for a million invocations, by MB of memory (logarithmic)",
            FONT.into_font().color(&INK),
        )
        .margin(8)
        .x_label_area_size(26)
        .y_label_area_size(64)
        .build_cartesian_2d((128.0..1769.0).log_scale(), 0.0..top * 1.1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .bold_line_style(INK.mix(0.3))
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(FONT.into_font().color(&INK))
        .draw()?;
    for ((name, points), colour) in curves.iter().zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(points.iter().copied(), colour.stroke_width(2)).point_size(3))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
    }
    legend(&mut chart)
}

fn draw(file: &Path, chart: impl FnOnce(&Area) -> Result<(), Error>) -> Result<(), Error> {
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    chart(&area)?;
    Ok(area.present()?)
}

/// Bars of three phases for each function.
fn instructions(area: &Area, figures: &Figures) -> Result<(), Error> {
    let names: Vec<_> = figures.rows.keys().collect();
    let mut chart = ChartBuilder::on(area)
        .caption("Instructions (logarithmic)", FONT.into_font().color(&INK))
        .margin(8)
        .x_label_area_size(26)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..ratio(names.len() as u64, 1), (1e5..1e9).log_scale())?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .bold_line_style(INK.mix(0.3))
        .light_line_style(INK.mix(0.1))
        .axis_style(INK)
        .y_labels(5)
        .y_label_formatter(&|count| format!("{} M", count / 1e6))
        .label_style(FONT.into_font().color(&INK))
        .draw()?;
    for (phase, colour) in ["init", "first request", "warm request"].into_iter().zip(COLOURS) {
        let bars = (0_u32..).zip(figures.rows.values()).map(|(place, row)| {
            let (offset, count) = match phase {
                "init" => (0.15, row.instructions.init),
                "first request" => (0.4, row.instructions.first),
                _ => (0.65, row.instructions.warm),
            };
            let left = f64::from(place) + offset;
            Rectangle::new([(left, 1e5), (left + 0.22, ratio(count, 1).max(1e5))], colour.filled())
        });
        chart
            .draw_series(bars)?
            .label(phase)
            .legend(move |(x, y)| Rectangle::new([(x, y - 4), (x + 14, y + 4)], colour.filled()));
    }
    label(area, &names, |place| chart.backend_coord(&(place, 1e5)))?;
    legend(&mut chart)
}

/// Medians with their spread, of what D takes.
fn wall(area: &Area, figures: &Figures) -> Result<(), Error> {
    let rows: Vec<_> = figures.rows.iter().filter(|(name, _)| *name != "naive").collect();
    let names: Vec<_> = rows.iter().map(|(name, _)| *name).collect();
    let top =
        rows.iter().map(|(_, row)| row.wall.until_first.high.max(row.wall.warm.high)).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption("Wall time, of D's (D is 1)", FONT.into_font().color(&INK))
        .margin(8)
        .x_label_area_size(26)
        .y_label_area_size(64)
        .build_cartesian_2d(0.0..ratio(names.len() as u64, 1), 0.0..top * 1.1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .disable_x_axis()
        .bold_line_style(INK.mix(0.3))
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(FONT.into_font().color(&INK))
        .draw()?;
    for (what, colour) in ["from exec to the first answer", "warm request"].into_iter().zip(COLOURS) {
        let bars = (0_u32..).zip(&rows).map(|(place, (_, row))| {
            let (offset, Spread { low, median, high }) =
                if what == "warm request" { (0.6, row.wall.warm) } else { (0.4, row.wall.until_first) };
            ErrorBar::new_vertical(f64::from(place) + offset, low, median, high, colour.filled(), 12)
        });
        chart
            .draw_series(bars)?
            .label(what)
            .legend(move |(x, y)| Circle::new((x + 7, y), 4, colour.filled()));
    }
    label(area, &names, |place| chart.backend_coord(&(place, 0.0)))?;
    legend(&mut chart)
}

/// Of one sandbox that answers many, where that was watched.
fn peaks(row: &Row) -> &BTreeMap<usize, u64> {
    if row.long_run.is_empty() { &row.memory.peaks } else { &row.long_run }
}

/// A line for each function over the number of requests.
fn memory(area: &Area, figures: &Figures) -> Result<(), Error> {
    let top = figures.rows.values().flat_map(|row| peaks(row).values());
    let top = ratio(top.copied().max().unwrap_or_default(), 1024);
    let mut chart = ChartBuilder::on(area)
        .caption("Peak memory, MB, after so many requests (logarithmic)", FONT.into_font().color(&INK))
        .margin(8)
        .margin_right(30)
        .x_label_area_size(26)
        .y_label_area_size(64)
        .build_cartesian_2d((1.0..100_000.0).log_scale(), 0.0..top * 1.1)?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_label_formatter(&|count| format!("{count:.0}"))
        .bold_line_style(INK.mix(0.3))
        .light_line_style(TRANSPARENT)
        .axis_style(INK)
        .label_style(FONT.into_font().color(&INK))
        .draw()?;
    for ((name, row), colour) in figures.rows.iter().zip(COLOURS) {
        let points = peaks(row).iter().map(|(count, peak)| (ratio(*count as u64, 1), ratio(*peak, 1024)));
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 14, y)], colour.stroke_width(2)));
    }
    legend(&mut chart)
}

/// The names below their places.
fn label(area: &Area, names: &[&String], at: impl Fn(f64) -> (i32, i32)) -> Result<(), Error> {
    let style = FONT.into_font().color(&INK).pos(Pos::new(HPos::Center, VPos::Top));
    for (place, name) in (0_u32..).zip(names) {
        let (x, y) = at(f64::from(place) + 0.5);
        area.draw_text(name, &style, (x, y + 6))?;
    }
    Ok(())
}

fn legend<'a, X: Ranged<ValueType = f64>, Y: Ranged<ValueType = f64>>(
    chart: &mut ChartContext<'a, SVGBackend<'a>, Cartesian2d<X, Y>>,
) -> Result<(), Error> {
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .label_font(FONT.into_font().color(&INK))
        .border_style(TRANSPARENT)
        .draw()
        .map_err(|error| error.to_string().into())
}
