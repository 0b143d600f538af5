//! The checksum of unified social credit codes.

/// GB 32100-2015: no I, O, Z, S, V.
const ALPHABET: &[u8; 31] = b"0123456789ABCDEFGHJKLMNPQRTUWXY";
/// GB 32100-2015: powers of 3, modulo 31.
const WEIGHTS: [usize; 17] = [
    1, 3, 9, 27, 19, 26, 16, 17, 20, 29, 25, 13, 8, 24, 10, 30, 28,
];
/// GB 11714: weights of the organisation code at characters 9 to 16.
const ORGANISATION_WEIGHTS: [usize; 8] = [3, 7, 9, 10, 5, 8, 4, 2];

/// Both checksums of an 18-character code hold.
pub(crate) fn is_credit_code(code: &[u8]) -> bool {
    code.len() == 18 && credit_check(code) == Some(code[17]) && organisation_check(code)
}

fn credit_check(code: &[u8]) -> Option<u8> {
    let sum = weigh(&code[..17], &WEIGHTS)?;
    // The outer remainder matters: without it a sum of 0 would give 31.
    Some(ALPHABET[(31 - sum % 31) % 31])
}

/// The organisation code inside has a check character of its own.
fn organisation_check(code: &[u8]) -> bool {
    let Some(sum) = organisation_sum(&code[8..16]) else {
        return false;
    };
    let expected = match 11 - sum % 11 {
        10 => b'X',
        11 => b'0',
        digit => b'0' + u8::try_from(digit).unwrap_or_default(),
    };
    code[16] == expected
}

/// Here letters count from A = 10 without gaps.
fn organisation_sum(code: &[u8]) -> Option<usize> {
    let values = code
        .iter()
        .map(|byte| (*byte as char).to_digit(36).map(|digit| digit as usize));
    values
        .zip(ORGANISATION_WEIGHTS)
        .map(|(value, weight)| value.map(|v| v * weight))
        .sum()
}

fn weigh(code: &[u8], weights: &[usize]) -> Option<usize> {
    let value = |byte: &u8| ALPHABET.iter().position(|letter| letter == byte);
    code.iter()
        .zip(weights)
        .map(|(byte, weight)| value(byte).map(|v| v * weight))
        .sum()
}
