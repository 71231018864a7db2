//! Rows of plain numbers, which nearly all of a CI-set file is.

use crate::ci_range::CiRange;

/// Appends the numbers of a JSON array, `[0.0, 0.25]`, in single precision: the nearest double and then its nearest single,
/// as Python and PyTorch read such a file. `row` is valid JSON.
///
/// Gives `false`, having appended some or none, unless these are as many numbers as `components` in `range`: it does not look for
/// what else they are.
pub(crate) fn append(row: &str, components: usize, range: CiRange, values: &mut Vec<f32>) -> bool {
    let Some(row) = row.strip_prefix('[').and_then(|row| row.strip_suffix(']')) else { return false };
    let wanted = values.len() + components;
    let mut rest = row.as_bytes();
    loop {
        rest = rest.trim_ascii_start();
        // Most causal importances, as Python writes them, many at a time.
        let zeros = rest.as_chunks().0.iter().take_while(|chunk| *chunk == b"0.0, ").count();
        if zeros > wanted - values.len() {
            return false;
        }
        values.resize(values.len() + zeros, 0.0);
        rest = &rest[zeros * b"0.0, ".len()..];
        let end = rest.iter().position(|byte| matches!(byte, b',' | b' ' | b'\n' | b'\t' | b'\r'));
        let (token, after) = rest.split_at(end.unwrap_or(rest.len()));
        let Some(value) = number(token).filter(|value| values.len() < wanted && range.contains(*value)) else {
            return false;
        };
        values.push(value);
        rest = after.trim_ascii_start();
        match rest.split_first() {
            Some((b',', after)) => rest = after,
            Some(_) => return false,
            None => return values.len() == wanted,
        }
    }
}

fn number(token: &[u8]) -> Option<f32> {
    if token == b"0.0" {
        return Some(0.0);
    }
    let is_number = token.first().is_some_and(|&byte| byte == b'-' || byte.is_ascii_digit());
    let value: f64 = str::from_utf8(token).ok().filter(|_| is_number)?.parse().ok()?;
    let single = value as f32;
    single.is_finite().then_some(single)
}

#[cfg(test)]
mod tests {
    use tributary_model::Sigmoid;

    use super::*;

    fn append(row: &str, components: usize, values: &mut Vec<f32>) -> bool {
        super::append(row, components, CiRange::of(Sigmoid::Hard), values)
    }

    #[test]
    fn plain_rows_are_read() {
        let mut values = vec![7.0];
        assert!(append("[0.0, 1,0.5,\n 1e-3 ,0.1]", 5, &mut values));
        assert_eq!(values, [7.0, 0.0, 1.0, 0.5, 1e-3, 0.1]);
        assert!(append("[0.0, 0.0, 0.0]", 3, &mut values));
        assert!(append("[0.0, 0.0, 0.5, 0.0, 0.0, 0.0,0.0 , 0.0]", 8, &mut values));
        assert_eq!(values[6..], [0.0, 0.0, 0.0, 0.0, 0.0, 0.5, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    #[test]
    fn anything_else_is_left_to_others() {
        let cases = [
            ("[]", 0),
            ("[]", 1),
            ("[0.0, ]", 1),
            ("[0.0, 0.0, 0.0]", 1),
            ("[0.0, 0.0, 0.0]", 4),
            ("[0.0]", 2),
            ("[0.0, 1.0]", 1),
            ("[1e39]", 1),
            ("[1.0000001]", 1),
            ("[-0.5]", 1),
            ("[[0.0]]", 1),
            ("[\"0.0\"]", 1),
            ("[null]", 1),
            ("[true, 1]", 2),
            ("[inf]", 1),
            ("0.0", 1),
        ];
        for (row, components) in cases {
            assert!(!append(row, components, &mut Vec::new()), "{row}");
        }
    }
}
