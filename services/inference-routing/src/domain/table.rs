//! Tables that each call or each piece of an answer looks into, by keys that nobody outside can choose: ids that we
//! made ourselves, and places. So their hash may be quick.

use std::collections::HashMap;

use foldhash::fast::RandomState;

/// A table whose keys are ours.
pub type Table<K, V> = HashMap<K, V, RandomState>;
