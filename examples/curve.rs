//! Draws a curve.

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 48.0;

/// A curve of `values`, each one step to the right of the one before, as an SVG document of 640 by 320.
pub fn curve_as_svg(title: &str, values: &[f64]) -> String {
    let highest = values.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let steps = values.len().saturating_sub(1).max(1) as f64;
    let x = |n: usize| MARGIN + (WIDTH - 2.0 * MARGIN) * n as f64 / steps;
    let y = |value: f64| HEIGHT - MARGIN - (HEIGHT - 2.0 * MARGIN) * value / highest;
    let points = values.iter().enumerate().map(|(n, value)| format!("{:.1},{:.1}", x(n), y(*value)));
    let points = points.collect::<Vec<_>>().join(" ");
    let (bottom, right, top) = (HEIGHT - MARGIN, WIDTH - MARGIN, MARGIN);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
<text x="{MARGIN}" y="24" font-size="14">{title}</text>
<path d="M{MARGIN} {top}V{bottom}H{right}" fill="none" stroke="black"/>
<text x="{label}" y="{top}" text-anchor="end" dominant-baseline="middle">{highest:.2}</text>
<text x="{label}" y="{bottom}" text-anchor="end" dominant-baseline="middle">0</text>
<text x="{right}" y="{below}" text-anchor="end">{count}</text>
<polyline points="{points}" fill="none" stroke="#1f77b4" stroke-width="1.5"/>
</svg>
"##,
        label = MARGIN - 6.0,
        below = bottom + 18.0,
        count = values.len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_stays_within_its_frame() {
        let drawn = curve_as_svg("falling", &[2.0, 1.0, 0.0]);
        assert!(drawn.contains(r#"points="48.0,48.0 320.0,160.0 592.0,272.0""#), "{drawn}");
        assert!(curve_as_svg("nothing", &[]).contains(r#"points="""#));
    }
}
