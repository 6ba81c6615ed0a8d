//! The data set that ships with the examples.

use std::num::ParseFloatError;

/// The biopsies of `data/breast_cancer.csv`: 30 measurements each, scaled to mean 0 and deviation 1, and whether it was benign.
///
/// # Errors
/// When the file holds something else than numbers.
pub fn breast_cancer() -> Result<Vec<(Vec<f64>, bool)>, ParseFloatError> {
    let parse = |line: &str| line.split(',').map(str::parse).collect::<Result<Vec<f64>, _>>();
    let lines = include_str!("data/breast_cancer.csv").lines().skip(1);
    let rows = lines.map(parse).collect::<Result<Vec<_>, _>>()?;
    let (mut columns, mut benign) = (Vec::<Vec<f64>>::new(), Vec::new());
    for row in &rows {
        let Some((class, measurements)) = row.split_last() else { continue };
        benign.push(*class == 1.0);
        columns.resize(measurements.len(), Vec::new());
        columns.iter_mut().zip(measurements).for_each(|(column, x)| column.push(*x));
    }
    columns.iter_mut().for_each(|column| standardize(column));
    let sample = |n: usize| columns.iter().filter_map(|column| column.get(n).copied()).collect();
    Ok(benign.into_iter().enumerate().map(|(n, benign)| (sample(n), benign)).collect())
}

fn standardize(column: &mut [f64]) {
    let count = column.len() as f64;
    let mean = column.iter().sum::<f64>() / count;
    let deviation = (column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / count).sqrt();
    column.iter_mut().for_each(|x| *x = (*x - mean) / deviation);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_data_is_whole_and_scaled() {
        let samples = breast_cancer().expect("numbers");
        assert_eq!((samples.len(), samples.iter().filter(|(_, benign)| *benign).count()), (569, 357));
        for column in 0..30 {
            let mean = samples.iter().map(|(row, _)| row[column]).sum::<f64>() / 569.0;
            assert!(mean.abs() < 1e-9, "{column}: {mean}");
        }
    }
}
