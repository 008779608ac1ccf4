//! Documents of one copy that were read or committed lately, so that an event about what other events were about a moment ago asks
//! the store for nothing. With PostgreSQL each question is a round trip, and a fold asks them one after the other.
//!
//! Only one fold writes a copy, and it tells of each commit, so what is known here is what is stored. A fold that was fenced
//! and does not know it yet may see what another host has changed since: its commit is refused, and everything is forgotten.
//!
//! Two generations instead of an order of use: when the young one is full it becomes the old one, and what is asked for again
//! becomes young again. Nothing has to be moved on each look.

use std::collections::HashMap;

use bytes::Bytes;

use crate::name::CollectionName;

/// Where a document is.
pub(super) type Place = (CollectionName, String);

/// Bytes of keys and documents of one generation.
const GENERATION_BYTES: usize = 4 * 1024 * 1024;

/// What an entry costs beside its key and its document, about.
const ENTRY_BYTES: usize = 128;

/// What is in the store, as far as it is known. `None`: nothing is there.
#[derive(Default)]
pub(super) struct Known {
    young: HashMap<Place, Option<Bytes>>,
    young_bytes: usize,
    old: HashMap<Place, Option<Bytes>>,
}

// === impl Known ===

impl Known {
    pub(super) fn get(&mut self, place: &Place) -> Option<Option<Bytes>> {
        if let Some(document) = self.young.get(place) {
            return Some(document.clone());
        }
        let (place, document) = self.old.remove_entry(place)?;
        self.put(place, document.clone());
        Some(document)
    }

    /// Takes over what was read or committed.
    pub(super) fn put(&mut self, place: Place, document: Option<Bytes>) {
        // What it was before must not come back when the young ones grow old.
        self.old.remove(&place);
        self.young_bytes += ENTRY_BYTES + place.1.len() + document.as_ref().map_or(0, Bytes::len);
        self.young.insert(place, document);
        if self.young_bytes > GENERATION_BYTES {
            self.old = std::mem::take(&mut self.young);
            self.young_bytes = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(number: usize) -> Place {
        (CollectionName::try_new("orders").unwrap(), format!("o-{number}"))
    }

    fn document(number: usize) -> Option<Bytes> {
        Some(Bytes::from(vec![number as u8; 1000]))
    }

    #[test]
    fn what_is_asked_for_again_and_again_stays_and_the_rest_is_forgotten() {
        let mut known = Known::default();
        for number in 0..50_000 {
            known.put(place(number), document(number));
            assert_eq!(known.get(&place(7)).is_some(), number >= 7, "after {number}");
            assert!(known.young.len() + known.old.len() <= 2 * GENERATION_BYTES / 1000);
        }
        assert_eq!(known.get(&place(7)), Some(document(7)));
        assert_eq!(known.get(&place(8)), None);
        assert_eq!(known.get(&place(49_999)), Some(document(49_999)));
    }

    #[test]
    fn the_last_of_two_documents_is_known_in_whichever_generation_the_first_one_is() {
        let mut known = Known::default();
        for others in [0, 3000, 6000] {
            known.put(place(1), document(1));
            (0..others).for_each(|number| known.put(place(100 + number), document(number)));
            known.put(place(1), None);
            assert_eq!(known.get(&place(1)), Some(None), "after {others} others");
            (0..3000).for_each(|number| known.put(place(100 + number), document(number)));
            assert!(matches!(known.get(&place(1)), Some(None) | None));
        }
    }

    #[test]
    fn a_document_that_is_greater_than_all_there_is_room_for_pushes_out_the_others_only() {
        let mut known = Known::default();
        known.put(place(1), Some(Bytes::from(vec![0; 3 * GENERATION_BYTES])));
        assert!(known.get(&place(1)).is_some());
        known.put(place(2), document(2));
        assert_eq!(known.get(&place(2)), Some(document(2)));
    }
}
