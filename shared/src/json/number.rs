use std::borrow::Cow;
use std::fmt;

/// Exponents of more digits are told apart by their texts: no sum of them is needed that any machine has room for.
const MAX_EXPONENT_DIGITS: usize = 30;

/// The exact value of a number in JSON, in the one form it has whatever it is written as: an integer without zeros
/// at either end, times a power of ten. It takes no more room than its text, however large the value is.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Number<'a> {
    is_negative: bool,
    /// None of zero.
    digits: Cow<'a, str>,
    exponent: Exponent<'a>,
}

#[derive(PartialEq, Eq, Hash)]
enum Exponent<'a> {
    Small(i128),
    /// As it is written, without zeros in front, and what the digits add to it.
    Large(bool, &'a str, i128),
}

impl<'a> Number<'a> {
    /// Reads a number of valid JSON.
    pub(super) fn read(text: &'a str) -> Self {
        let (is_negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
        let (integer, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let fraction = fraction.trim_end_matches('0');
        let digits = match (integer.trim_start_matches('0'), fraction) {
            ("", fraction) => Cow::Borrowed(fraction.trim_start_matches('0')),
            (integer, "") => Cow::Borrowed(integer),
            (integer, fraction) => Cow::Owned([integer, fraction].concat()),
        };
        let significant = digits.trim_end_matches('0').len();
        if significant == 0 {
            return Self { is_negative: false, digits: Cow::Borrowed(""), exponent: Exponent::Small(0) };
        }
        let shift =
            length(&digits) - length(digits.get(..significant).unwrap_or_default()) - length(fraction);
        let digits = match digits {
            Cow::Borrowed(digits) => Cow::Borrowed(digits.get(..significant).unwrap_or_default()),
            Cow::Owned(mut digits) => {
                digits.truncate(significant);
                Cow::Owned(digits)
            }
        };
        Self { is_negative, digits, exponent: Exponent::read(exponent, shift) }
    }
}

impl<'a> Exponent<'a> {
    fn read(text: &'a str, shift: i128) -> Self {
        let (is_negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let unsigned = unsigned.trim_start_matches('0');
        if unsigned.len() > MAX_EXPONENT_DIGITS {
            return Self::Large(is_negative, unsigned, shift);
        }
        let exponent: i128 = unsigned.parse().unwrap_or_default();
        Self::Small(if is_negative { -exponent } else { exponent } + shift)
    }
}

fn length(digits: &str) -> i128 {
    i128::try_from(digits.len()).unwrap_or(i128::MAX)
}

impl fmt::Display for Number<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.is_negative { "-" } else { "" };
        let digits = if self.digits.is_empty() { "0" } else { &self.digits };
        match self.exponent {
            Exponent::Small(0) => write!(f, "{sign}{digits}"),
            Exponent::Small(exponent) => write!(f, "{sign}{digits}e{exponent}"),
            Exponent::Large(is_negative, exponent, shift) => {
                let exponent_sign = if is_negative { "-" } else { "" };
                write!(f, "{sign}{digits}e{exponent_sign}{exponent}+{shift}")
            }
        }
    }
}
