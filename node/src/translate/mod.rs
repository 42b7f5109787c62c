//! Between the planes' own words: kernel events and records of the log, rejections and refusals, states and views.

mod event;
mod record;
mod refusal;
mod run;
mod task;

pub(crate) use event::{client_event, cursor, describe, refers_to_the_last_value, with_output};
pub(crate) use record::{OWNED_ROWS, encoded, moved, record, row_kind};
pub(crate) use refusal::{read_failed, refusal, unreadable};
pub(crate) use run::{function_names, run_info, status_text, stream_info_of_run, stream_info_of_stream};
pub(crate) use task::{failure, task_frame};
