//! What went in comes out.

use proptest::prelude::*;

use super::{read, strategies};
use crate::event::Class;
use crate::row::RowImage;
use crate::stored::{decode_row, encode, encode_row, read_row, row_key, row_name, run_bytes};

proptest! {
    #[test]
    fn an_event_comes_back_as_it_went((event, place) in strategies::event()) {
        let encoded = encode(&event, place);
        prop_assert_eq!(encoded.class, event.class());
        match encoded.class {
            Class::Fact | Class::Output => prop_assert_eq!((encoded.stream, encoded.offset), (place.stream, place.offset)),
            Class::Attempt => prop_assert!(encoded.stream.is_none()),
        }
        prop_assert_eq!(read(&encoded), Ok(event));
    }

    #[test]
    fn a_row_comes_back_by_its_name_and_by_a_scan((name, image) in strategies::row()) {
        let (kind, id) = row_key(&name);
        let bytes = encode_row(&name, &image);
        prop_assert!(id.len() <= 1024);
        prop_assert_eq!(decode_row(&name, &bytes), Ok(image.clone()));
        prop_assert_eq!(read_row(kind, &id, &bytes), Ok((name.clone(), image.clone())));
        if let RowImage::Start(_) = image {
            prop_assert!(row_name(kind, &id).is_err());
        } else {
            prop_assert_eq!(row_name(kind, &id), Ok(name));
        }
    }

    #[test]
    fn equal_runs_have_equal_bytes_and_different_runs_do_not(
        mut run in strategies::run(),
        mut other in strategies::run(),
    ) {
        let bytes = run_bytes(&run);
        run.scopes.values_mut().chain(other.scopes.values_mut()).for_each(|scope| scope.began = None);
        prop_assert_eq!(run_bytes(&run), bytes, "when tasks began is no part of it");
        prop_assert_eq!(run_bytes(&run), run_bytes(&run.clone()));
        prop_assert_eq!(run == other, run_bytes(&run) == run_bytes(&other));
    }

    #[test]
    fn an_ascending_scan_meets_the_newest_run_first(older in strategies::run(), newer in strategies::run()) {
        use crate::row::RowName::{ClosedRun, OpenRun};
        prop_assume!(older.id.ulid() < newer.id.ulid());
        prop_assert!(row_key(&OpenRun(newer.id)).1 < row_key(&OpenRun(older.id)).1);
        prop_assert!(row_key(&ClosedRun(newer.id)).1 < row_key(&ClosedRun(older.id)).1);
    }
}
