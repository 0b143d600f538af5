use chrono::{Datelike, NaiveDate, Utc};
use rand::{Rng, seq::IndexedRandom};

/// Weights of the 17 digits of a resident ID (GB 11643).
const WEIGHTS: [u32; 17] = [7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2];
/// The check character by the weighted sum modulo 11.
const CHECKS: [char; 11] = ['1', '0', 'X', '9', '8', '7', '6', '5', '4', '3', '2'];
/// A region code that has been in use for long (Dongcheng, Beijing).
const REGION: &str = "110101";
const FAMILY: [char; 12] = [
    '王', '李', '张', '刘', '陈', '杨', '赵', '黄', '周', '吴', '徐', '孙',
];
const GIVEN: [char; 12] = [
    '伟', '芳', '娜', '敏', '静', '丽', '强', '磊', '洋', '艳', '勇', '杰',
];

/// An invented person.
#[derive(Clone, Debug)]
pub struct Person {
    /// A mobile number.
    pub phone: String,
    /// A name of three characters.
    pub name: String,
    /// A resident ID with a right check character.
    pub resident_id: String,
}

impl Person {
    /// An adult whom nobody knows yet.
    #[must_use]
    pub fn adult() -> Self {
        let age = rand::rng().random_range(20..60);
        Self::aged(age)
    }

    /// Somebody who turned `age` about half a year ago.
    #[must_use]
    pub fn aged(age: i32) -> Self {
        let mut chance = rand::rng();
        let today = Utc::now().date_naive();
        let about = today - chrono::Days::new(182 + chance.random_range(0..28));
        let birth = about.with_year(about.year() - age).unwrap_or(about);
        let name: String = [
            *FAMILY.choose(&mut chance).expect("there are names"),
            *GIVEN.choose(&mut chance).expect("there are names"),
            *GIVEN.choose(&mut chance).expect("there are names"),
        ]
        .iter()
        .collect();
        Self {
            phone: format!("138{:08}", chance.random_range(0..100_000_000)),
            name,
            resident_id: resident_id(birth, chance.random_range(0..1000)),
        }
    }
}

fn resident_id(birth: NaiveDate, sequence: u32) -> String {
    let body = format!("{REGION}{}{sequence:03}", birth.format("%Y%m%d"));
    let sum: u32 = body
        .bytes()
        .zip(WEIGHTS)
        .map(|(byte, w)| u32::from(byte - b'0') * w)
        .sum();
    format!("{body}{}", CHECKS[(sum % 11) as usize])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_check_character_is_that_of_the_standard() {
        // GB 11643's own example differs in the region only in digits: 11010519491231002X.
        let sum: u32 = "11010519491231002"
            .bytes()
            .zip(WEIGHTS)
            .map(|(b, w)| u32::from(b - b'0') * w)
            .sum();
        assert_eq!(CHECKS[(sum % 11) as usize], 'X');
        let id = resident_id(NaiveDate::from_ymd_opt(1990, 1, 2).unwrap(), 7);
        assert!(id.starts_with("11010119900102007") && id.len() == 18);
    }

    #[test]
    fn people_are_as_old_as_asked() {
        let child = Person::aged(9);
        let year: i32 = child.resident_id[6..10].parse().unwrap();
        assert!((9..=10).contains(&(Utc::now().year() - year)));
        assert_eq!((child.phone.len(), child.name.chars().count()), (11, 3));
    }
}
