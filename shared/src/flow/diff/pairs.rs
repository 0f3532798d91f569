use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::Hash;

/// Which elements of two lists are the same ones.
pub(super) struct Pairs {
    /// Of each element of the later list, where it was in the earlier one.
    pub(super) origins: Vec<Option<usize>>,
    /// Of each element of the earlier list, whether it is in the later one.
    is_kept: Vec<bool>,
}

impl Pairs {
    /// Elements are the same when they have the first of these keys in common, or else the next one. Of
    /// several with one key the first is the first.
    pub(super) fn of<'a, T, K: Eq + Hash>(
        from: &'a [T],
        to: &'a [T],
        keys: &[fn(&'a T) -> Option<K>],
    ) -> Self {
        let mut pairs = Self { origins: vec![None; to.len()], is_kept: vec![false; from.len()] };
        for key in keys {
            pairs.pair(from, to, *key);
        }
        pairs
    }

    fn pair<'a, T, K: Eq + Hash>(&mut self, from: &'a [T], to: &'a [T], key: fn(&'a T) -> Option<K>) {
        let mut first = HashMap::new();
        let mut following = vec![None; from.len()];
        for (((index, old), is_kept), next) in
            from.iter().enumerate().zip(&self.is_kept).zip(&mut following).rev()
        {
            if !is_kept && let Some(key) = key(old) {
                *next = first.insert(key, index);
            }
        }
        for (new, origin) in to.iter().zip(&mut self.origins).filter(|(_, origin)| origin.is_none()) {
            let Some(Entry::Occupied(mut entry)) = key(new).map(|key| first.entry(key)) else { continue };
            let index = *entry.get();
            match following.get(index).copied().flatten() {
                Some(next) => drop(entry.insert(next)),
                None => drop(entry.remove()),
            }
            *origin = Some(index);
            if let Some(is_kept) = self.is_kept.get_mut(index) {
                *is_kept = true;
            }
        }
    }

    pub(super) fn matched<'a, T>(
        &self,
        from: &'a [T],
        to: &'a [T],
    ) -> impl Iterator<Item = (usize, &'a T, &'a T)> {
        let places = self.origins.iter().zip(to).enumerate();
        places.filter_map(|(index, (origin, new))| Some((index, from.get((*origin)?)?, new)))
    }

    pub(super) fn added(&self) -> impl Iterator<Item = usize> {
        self.origins.iter().enumerate().filter(|(_, origin)| origin.is_none()).map(|(index, _)| index)
    }

    pub(super) fn removed(&self) -> impl Iterator<Item = usize> {
        self.is_kept.iter().enumerate().filter(|(_, is_kept)| !**is_kept).map(|(index, _)| index)
    }

    pub(super) fn keep_order(&self) -> bool {
        self.origins.iter().flatten().is_sorted()
    }
}
