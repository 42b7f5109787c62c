//! A disk that takes one megabyte a second, by a cgroup. Producers are slowed down, and nothing is lost.

use std::fs;
use std::path::PathBuf;
use std::time::Instant;

use headwater_client::{Code, Error};

use super::Writer;
use super::image::Image;
use crate::support::{Home, NodeProcess};

const BYTES_A_SECOND: u64 = 1024 * 1024;

/// A group of processes whose writes to one device are throttled.
#[derive(Debug)]
struct Throttle {
    group: PathBuf,
}

impl Throttle {
    /// `None`, with a printed reason, where this machine has no such groups or they are not ours to make.
    fn of(node: &NodeProcess, device: &str) -> Option<Self> {
        let group = PathBuf::from(format!("/sys/fs/cgroup/blkio/headwater-{}", std::process::id()));
        let made = fs::create_dir(&group)
            .and_then(|()| {
                fs::write(group.join("blkio.throttle.write_bps_device"), format!("{device} {BYTES_A_SECOND}"))
            })
            .and_then(|()| fs::write(group.join("cgroup.procs"), node.pid().to_string()));
        match made {
            Ok(()) => Some(Self { group }),
            Err(error) => {
                println!("skipped: {} cannot be made: {error}", group.display());
                let _ = fs::remove_dir(&group);
                None
            }
        }
    }
}

impl Drop for Throttle {
    fn drop(&mut self) {
        // Empty only once the node is gone.
        let _ = fs::remove_dir(&self.group);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_disk_slows_its_producers_and_loses_nothing() {
    let Some(image) = Image::mount(512) else { return };
    let home = Home::at(&image.data()).set("node.partitions", "4");
    let node = home.start().await;
    let Some(_throttle) = Throttle::of(&node, &image.device()) else { return };
    let began = Instant::now();
    let producers: Vec<_> = (0..8)
        .map(|number| {
            let client = home.client();
            tokio::spawn(async move {
                let mut writer = Writer::new(client, &format!("agent-{number}/notes"), 50_000).await;
                while writer.acknowledged < 16 {
                    match writer.append().await {
                        Ok(()) => {}
                        // The only "no" that a slow disk may cause; it says when to try again.
                        Err(error @ (Error::Refused(_) | Error::Problem(_))) => {
                            assert_eq!(error.code(), Some(Code::QueueFull), "{error}");
                            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                        }
                        Err(error) => panic!("{error}"),
                    }
                }
                writer
            })
        })
        .collect();
    let mut writers = Vec::new();
    for producer in producers {
        writers.push(producer.await.expect("it gets through"));
    }
    let bytes: u64 = writers.iter().map(|writer| writer.acknowledged * 50_000).sum();
    println!("{bytes} bytes acknowledged in {:?} on a disk of {BYTES_A_SECOND} bytes a second", began.elapsed());
    node.kill().await;
    let node = home.start().await;
    for writer in &mut writers {
        writer.check().await;
        assert_eq!(writer.acknowledged, 16, "no append was doubled");
    }
    assert!(node.stop().await.success(), "{}", home.log());
}
