use std::sync::Arc;

use indexmap::IndexMap;

use crate::Item;

/// A bounded number of values. What was not used for long makes room.
pub(crate) struct Shelf<T> {
    values: IndexMap<String, Held<T>>,
    capacity: usize,
    uses: u64,
    chance: u64,
}

struct Held<T> {
    value: Arc<T>,
    used: u64,
}

/// How many values are compared to find one that may go.
const SAMPLE: usize = 8;

impl<T: Item> Shelf<T> {
    pub(crate) fn new(capacity: usize) -> Self {
        Self {
            values: IndexMap::new(),
            capacity: capacity.max(1),
            uses: 0,
            chance: 0x9e37_79b9,
        }
    }

    pub(crate) fn get(&mut self, key: &str) -> Option<Arc<T>> {
        self.uses += 1;
        let held = self.values.get_mut(key)?;
        held.used = self.uses;
        Some(Arc::clone(&held.value))
    }

    /// Keeps a value unless a later one is there; returns the later of both.
    pub(crate) fn put(&mut self, value: Arc<T>) -> Arc<T> {
        self.uses += 1;
        if let Some(held) = self.values.get_mut(value.key()) {
            held.used = self.uses;
            if held.value.version() < value.version() {
                held.value = value;
            }
            return Arc::clone(&held.value);
        }
        if self.values.len() >= self.capacity {
            self.make_room();
        }
        let held = Held {
            value: Arc::clone(&value),
            used: self.uses,
        };
        self.values.insert(value.key().to_owned(), held);
        value
    }

    /// Replaces a value that is there by a later one.
    pub(crate) fn update(&mut self, value: &Arc<T>) {
        if let Some(held) = self.values.get_mut(value.key())
            && held.value.version() < value.version()
        {
            held.value = Arc::clone(value);
        }
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
    }

    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }

    /// Drops the least recently used of a few: nearly as good as of all, and quick.
    fn make_room(&mut self) {
        let length = self.values.len() as u64;
        let mut oldest: Option<(usize, u64)> = None;
        for _ in 0..SAMPLE {
            self.chance = self
                .chance
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let index = usize::try_from((self.chance >> 33) % length).unwrap_or_default();
            let used = self.values[index].used;
            if oldest.is_none_or(|(_, oldest)| used < oldest) {
                oldest = Some((index, used));
            }
        }
        if let Some((index, _)) = oldest {
            self.values.swap_remove_index(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use wanwu_proto::identity::v1::Standing;

    use super::*;

    fn value(key: &str, version: u64) -> Arc<Standing> {
        let account_id = key.to_owned();
        Arc::new(Standing {
            account_id,
            version,
            ..Standing::default()
        })
    }

    #[test]
    fn the_higher_version_stays() {
        let mut shelf = Shelf::new(10);
        assert_eq!(shelf.put(value("a", 2)).version, 2);
        assert_eq!(shelf.put(value("a", 1)).version, 2);
        shelf.update(&value("a", 3));
        shelf.update(&value("a", 1));
        assert_eq!(shelf.get("a").unwrap().version, 3);
    }

    #[test]
    fn what_is_not_held_is_not_updated() {
        let mut shelf = Shelf::new(10);
        shelf.update(&value("a", 1));
        assert!(shelf.get("a").is_none());
    }

    #[test]
    fn it_is_bounded_and_keeps_what_is_used() {
        let mut shelf = Shelf::new(100);
        for i in 0..10_000_u64 {
            shelf.put(value(&i.to_string(), 1));
            shelf.get("0");
        }
        assert_eq!(shelf.len(), 100);
        assert!(shelf.get("0").is_some());
    }
}
