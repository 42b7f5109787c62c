//! The fault table for the log: bits that flip, files that end early, go missing or change places, processes that are
//! killed at a sync, power that is cut. Whatever is done to a directory, what is served afterwards is what was
//! written; the rest is told. A sample in the tests; all of it by `make faults`, which sets `HEADWATER_FAULTS` to how
//! many of each. `HEADWATER_FAULT_SEED` repeats a run.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use storage::{Log, MemoryLog, OpenError, ReadError, ReadOnlyLog, RocksLog, StoredRecord, StreamRead};
use types::{Offset, PartitionId, Position, StreamOrdinal};

use crate::damage::{files, used};
use crate::harness::{COLD, Harness, Memory, PARTITIONS, Rocks, Sizes, copy_folder, fact, output, partition};
use crate::kill;
use crate::reading::mixture;

/// How many of each fault: the sample of the tests, unless `make faults` asks for more.
pub(crate) fn count(sample: usize) -> usize {
    std::env::var("HEADWATER_FAULTS").ok().and_then(|text| text.parse().ok()).unwrap_or(sample)
}

/// The same for faults that need a process and a second each: one where there are twenty of the others.
pub(crate) fn slow_count(sample: usize) -> usize {
    count(sample * 20).div_ceil(20)
}

/// A directory that a child has appended to so often is begun anew, so that it fits on its disk and is read in a moment.
const ROUNDS_A_DIRECTORY: usize = 5;

/// Chance from a seed that every failure names.
struct Chance(u64);

impl Chance {
    fn of(fault: &str) -> Self {
        let given = std::env::var("HEADWATER_FAULT_SEED").ok().and_then(|text| text.parse().ok());
        let seed = given.unwrap_or_else(|| u64::from(std::process::id()) << 20 | fault.len() as u64);
        println!("{fault}: seed {seed}");
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % limit.max(1) as u64).expect("below a usize")
    }
}

/// What became of the faults.
#[derive(Default)]
struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    fn add(&mut self, what: &'static str) {
        *self.0.entry(what).or_default() += 1;
    }

    fn of(&self, what: &str) -> u64 {
        self.0.get(what).copied().unwrap_or(0)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: u64 = self.0.values().sum();
        write!(f, "{all} faults")?;
        self.0.iter().try_for_each(|(what, count)| write!(f, ", {count} {what}"))
    }
}

/// All that a directory held, by partition and by stream.
struct Truth {
    records: Vec<Vec<StoredRecord>>,
}

impl Truth {
    fn of(log: &dyn Harness) -> Self {
        Self { records: (0..PARTITIONS).map(|number| log.all(partition(number))).collect() }
    }

    /// Reads everything both ways. What is given must be right and nothing may end early; `false`: some of it was
    /// refused by name.
    fn holds(&self, log: &dyn Log, what: &dyn fmt::Display) -> bool {
        let mut whole = true;
        for (number, expect) in (0..).zip(&self.records) {
            whole &= by_position(log, partition(number), expect, what);
            let streams: std::collections::BTreeSet<_> = expect.iter().map(|it| it.record.stream).collect();
            for stream in streams.into_iter().filter(|stream| !stream.is_none()) {
                let events: Vec<_> = expect.iter().filter(|it| it.record.stream == stream).collect();
                whole &= by_stream(log, partition(number), stream, &events, what);
            }
        }
        whole
    }
}

fn by_position(log: &dyn Log, partition: PartitionId, expect: &[StoredRecord], what: &dyn fmt::Display) -> bool {
    let mut next = 0;
    loop {
        match log.read(partition, Position::new(next as u64), 1_000, 1 << 20) {
            Ok(records) if records.is_empty() => {
                assert_eq!(next, expect.len(), "{what}: partition {partition} ends early, and says nothing");
                return true;
            }
            Ok(records) => {
                assert_eq!(
                    records,
                    expect[next..next + records.len()],
                    "{what}: partition {partition} is served wrong"
                );
                next += records.len();
            }
            Err(ReadError::Corrupt { .. } | ReadError::Quarantined { .. } | ReadError::Io { .. }) => return false,
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

fn by_stream(
    log: &dyn Log,
    partition: PartitionId,
    stream: StreamOrdinal,
    expect: &[&StoredRecord],
    what: &dyn fmt::Display,
) -> bool {
    let mut next = 0;
    loop {
        let (from, until) = (Offset::new(next as u64), Offset::new(u64::MAX));
        match log.read_stream(StreamRead { partition, stream, from, until, max_events: 1_000, max_bytes: 1 << 20 }) {
            Ok(events) if events.is_empty() => {
                let told = next == expect.len() || log.bounds(partition).quarantined;
                assert!(told, "{what}: stream {stream} ends at {next} of {}, and says nothing", expect.len());
                return next == expect.len();
            }
            Ok(events) => {
                let right = events.iter().zip(&expect[next..]).all(|(event, expect)| event == *expect);
                assert!(right && next + events.len() <= expect.len(), "{what}: stream {stream} is served wrong");
                next += events.len();
            }
            Err(ReadError::Corrupt { .. } | ReadError::EventsQuarantined { .. } | ReadError::Io { .. }) => {
                return false;
            }
            Err(error) => panic!("{what}: {error}"),
        }
    }
}

/// A directory with sealed segments, an index, rows of RocksDB's own files, and its truth; stopped in order or not.
fn directory(clean: bool) -> (Rocks, PathBuf, Truth) {
    let sizes = Sizes { segment_bytes: 20_000, checkpoint_bytes: 2_000, tail_bytes: 0 };
    let mut rocks = Rocks::new(sizes);
    mixture(&rocks, 250);
    rocks.reopen();
    // Behind what is in files: the write-ahead log.
    for n in 0..60 {
        (&rocks as &dyn Harness).append(partition(3), vec![fact(77, 2 * n), output(77, 2 * n + 1)]);
    }
    let truth = Truth::of(&rocks);
    if clean {
        rocks.rocks().close().expect("it closes");
        rocks.log = None;
        let path = rocks.path.clone();
        return (rocks, path, truth);
    }
    // The watermark knows of all of it.
    std::thread::sleep(Duration::from_millis(250));
    let path = rocks.copy();
    rocks.log = None;
    (rocks, path, truth)
}

/// Opens what was done to a copy, reads it, and says how it went.
fn outcome(rocks: &Rocks, path: &Path, truth: &Truth, what: &dyn fmt::Display) -> &'static str {
    match RocksLog::open(path, &rocks.options) {
        Ok((log, _)) => {
            let whole = truth.holds(&*log, what);
            if whole { "unharmed" } else { "named when read" }
        }
        Err(OpenError::Locked { .. } | OpenError::NotWritable { .. }) => panic!("{what}: nobody else has it"),
        Err(_) => "refused at the start",
    }
}

fn spoil(
    rocks: &Rocks,
    path: &Path,
    file: &Path,
    what: &dyn fmt::Display,
    truth: &Truth,
    change: impl FnOnce(&Path),
) -> &'static str {
    let copy = rocks.folder.path().join("spoiled");
    copy_folder(path, &copy);
    let relative = file.strip_prefix(path).expect("a file of the directory");
    change(&copy.join(relative));
    let outcome = outcome(rocks, &copy, truth, what);
    fs::remove_dir_all(copy).expect("it was made");
    outcome
}

fn flip_bit(path: &Path, bit: usize) {
    let mut bytes = fs::read(path).expect("readable");
    bytes[bit / 8] ^= 1 << (bit % 8);
    fs::write(path, bytes).expect("writable");
}

fn cut_to(path: &Path, len: usize) {
    let file = fs::File::options().write(true).open(path).expect("writable");
    file.set_len(len as u64).expect("it shrinks");
}

#[test]
fn no_flipped_bit_of_a_block_is_served() {
    let (mut chance, mut tally) = (Chance::of("bits of blocks"), Tally::default());
    let fill = || {
        let memory = Memory::new(COLD);
        mixture(&memory, 40);
        memory
    };
    let truth = Truth::of(&fill());
    let written: Vec<_> = (0..PARTITIONS).filter(|number| !truth.records[*number as usize].is_empty()).collect();
    for _ in 0..count(256) {
        let memory = fill();
        let number = written[chance.below(written.len())];
        let position = Position::new(chance.below(truth.records[number as usize].len()) as u64);
        let (partition, bit) = (partition(number), chance.below(1 << 20));
        assert!(MemoryLog::flip_bit(&memory.0, partition, position, bit), "there is a block");
        let what = format!("bit {bit} of the block with position {position} of partition {partition}");
        let whole = truth.holds(&memory.0, &what);
        tally.add(if whole { "unharmed" } else { "named when read" });
    }
    println!("bits of blocks: {tally}");
    assert_eq!(tally.of("unharmed"), 0, "every bit of a block is covered");
}

/// Files that say what the others are: all but tables and the write-ahead log. `log/MANIFEST-n` is RocksDB's own.
fn small_files(path: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(path.join("log")).expect("readable").map(|entry| entry.expect("readable").path());
    let is_manifest = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"MAN"));
    let named = ["COMMIT", "FORMAT", "log/CURRENT"].map(|name| path.join(name));
    listed.filter(is_manifest).chain(named).collect()
}

/// By extension; those without one are the small ones.
fn of_kind(path: &Path, extension: &str) -> Vec<PathBuf> {
    let all = if extension.is_empty() { small_files(path) } else { files(path, extension) };
    all.into_iter().filter(|file| used(file) > 0).collect()
}

#[test]
fn no_flipped_bit_of_a_file_is_served() {
    for (extension, clean, sample) in [("log", false, 60), ("sst", true, 120), ("", true, 60)] {
        let name = if extension.is_empty() { "small files" } else { extension };
        let (mut chance, mut tally) = (Chance::of(name), Tally::default());
        let (rocks, path, truth) = directory(clean);
        let all = of_kind(&path, extension);
        for _ in 0..count(sample) {
            let file = &all[chance.below(all.len())];
            let bit = chance.below(used(file) * 8);
            let what = format!("bit {bit} of {}", file.display());
            tally.add(spoil(&rocks, &path, file, &what, &truth, |file| flip_bit(file, bit)));
        }
        println!("bits of {name}: {tally}");
        assert!(tally.of("refused at the start") + tally.of("named when read") > 0, "{tally}");
    }
}

#[test]
fn no_flipped_bit_of_the_watermark_is_believed() {
    let (mut chance, mut tally) = (Chance::of("COMMIT"), Tally::default());
    let (_rocks, path, truth) = directory(true);
    let commit = path.join("COMMIT");
    let good = fs::read(&commit).expect("readable");
    let ends: Vec<_> = truth.records.iter().map(|records| records.len() as u64).collect();
    for _ in 0..count(512) {
        // One bit, or one in each half.
        let mut bytes = good.clone();
        let halves = [[0].as_slice(), &[16 * 1024], &[0, 16 * 1024]][chance.below(3)];
        for half in halves {
            let bit = half * 8 + chance.below(600);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        fs::write(&commit, &bytes).expect("writable");
        match ReadOnlyLog::open(&path) {
            Ok((log, _)) => {
                let found: Vec<_> = (0..PARTITIONS).map(|number| log.bounds(partition(number)).end.value()).collect();
                assert_eq!(found, ends);
                tally.add("unharmed");
            }
            Err(OpenError::Damaged { .. }) => tally.add("refused at the start"),
            Err(error) => panic!("{error}"),
        }
    }
    println!("bits of COMMIT: {tally}");
    assert!(tally.of("unharmed") > 0 && tally.of("refused at the start") > 0, "{tally}");
}

#[test]
fn no_file_that_ends_early_shortens_history_in_silence() {
    let mut tally = Tally::default();
    for (extension, clean, sample) in [("log", false, 40), ("sst", true, 40), ("", true, 20)] {
        let mut chance = Chance::of("lengths");
        let (rocks, path, truth) = directory(clean);
        let all = of_kind(&path, extension);
        for _ in 0..count(sample) {
            let file = &all[chance.below(all.len())];
            let len = chance.below(used(file));
            let what = format!("{} cut to {len} bytes", file.display());
            tally.add(spoil(&rocks, &path, file, &what, &truth, |file| cut_to(file, len)));
        }
    }
    let (rocks, path, truth) = directory(true);
    let commit = path.join("COMMIT");
    for len in (0..32 * 1024).step_by((32 * 1024 / count(16).min(1_024)).max(1)) {
        let what = format!("COMMIT cut to {len} bytes");
        tally.add(spoil(&rocks, &path, &commit, &what, &truth, |file| cut_to(file, len)));
    }
    println!("files that end early: {tally}");
    assert!(tally.of("refused at the start") > 0, "{tally}");
}

#[test]
fn no_missing_or_exchanged_file_is_taken_for_the_right_one() {
    let mut tally = Tally::default();
    for clean in [true, false] {
        let (rocks, path, truth) = directory(clean);
        let mut all: Vec<_> = ["sst", "log"].iter().flat_map(|extension| files(&path, extension)).collect();
        all.extend(small_files(&path));
        for (index, file) in all.iter().enumerate() {
            let what = format!("{} is gone", file.display());
            tally.add(spoil(&rocks, &path, file, &what, &truth, |file| fs::remove_file(file).expect("it was there")));
            let other = &all[(index + 1) % all.len()];
            if file.extension() == other.extension() && file.extension().is_some() {
                let what = format!("{} is {}", file.display(), other.display());
                let change = |file: &Path| assert!(fs::copy(other, file).is_ok(), "it copies");
                tally.add(spoil(&rocks, &path, file, &what, &truth, change));
            }
        }
    }
    println!("missing and exchanged files: {tally}");
    assert!(tally.of("refused at the start") > 0, "{tally}");
}

/// Whether a program is there.
fn is_installed(program: &str) -> bool {
    Command::new(program).arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok()
}

/// Whether processes can be stopped at their system calls here: a container may forbid it.
pub(crate) fn can_trace() -> bool {
    let traced = Command::new("strace").args(["-f", "-qq", "-o", "/dev/null", "true"]).stderr(Stdio::null()).status();
    traced.is_ok_and(|status| status.success())
}

/// The process is killed at its n-th sync, write or rename: whatever it had answered is true.
#[test]
fn a_process_that_is_killed_at_any_system_call_keeps_its_word() {
    if !can_trace() {
        println!("skipped: strace is not installed or may not trace");
        return;
    }
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("data");
    let (mut acknowledged, mut total, mut kills) = ([0; 4], 0, 0);
    // The first calls come before anything is acknowledged.
    let most = slow_count(4).clamp(4, 500);
    for call in ["fdatasync", "write", "rename"] {
        for number in 1..=most {
            // Renames are few: with more than there are, nobody would end the child.
            if call == "rename" && number > 3 {
                break;
            }
            if kills % ROUNDS_A_DIRECTORY == 0 {
                total += begin_anew(&path, &mut acknowledged);
            }
            let mut child = Command::new("strace");
            child.args(["-f", "-qq", "-o", "/dev/null", "-e", &format!("trace={call}")]);
            child.args(["-e", &format!("inject={call}:signal=KILL:when={number}")]);
            let last = kill::run_child(child, &path, Duration::from_secs(3));
            kill::remember(&mut acknowledged, last);
            kill::check(&path, &acknowledged);
            kills += 1;
        }
    }
    total += acknowledged.iter().sum::<u64>();
    println!("kills at system calls: {kills}, {total} acknowledged, 0 lost");
    assert!(total > 0, "nobody was killed at work");
    assert_eq!(storage::verify(&path).map(|report| report.damages), Ok(Vec::new()));
}

/// Takes a directory away; says how much was acknowledged in it, all of which was there.
fn begin_anew(path: &Path, acknowledged: &mut [u64; 4]) -> u64 {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => panic!("{}: {error}", path.display()),
        Ok(()) | Err(_) => std::mem::take(acknowledged).iter().sum(),
    }
}

/// A file system on a file, that can lose its power. Needs root.
struct Disk {
    folder: tempfile::TempDir,
}

impl Disk {
    const MIB: u64 = 512;

    /// `None`, with the reason printed, where it cannot be made.
    fn new(kind: &str) -> Option<Self> {
        let maker = format!("mkfs.{kind}");
        if !is_installed(&maker) || !is_installed("python3") {
            println!("skipped: {maker} and python3 are needed");
            return None;
        }
        let disk = Self { folder: tempfile::tempdir().expect("a folder") };
        let image = disk.folder.path().join("image");
        fs::File::create(&image).and_then(|file| file.set_len(Self::MIB << 20)).expect("room for an image");
        let made = Command::new(maker).arg("-q").arg(&image).status().is_ok_and(|status| status.success());
        fs::create_dir(disk.mount_point()).expect("a folder");
        if made && disk.mount() {
            return Some(disk);
        }
        println!("skipped: a {kind} image could not be mounted; that needs root and loop devices");
        None
    }

    fn mount_point(&self) -> PathBuf {
        self.folder.path().join("mounted")
    }

    fn mount(&self) -> bool {
        let mut mount = Command::new("mount");
        mount.args(["-o", "loop"]).arg(self.folder.path().join("image")).arg(self.mount_point());
        mount.stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }

    /// Makes ready to cut the power at once.
    fn switch(&self) -> Switch {
        let script = "import fcntl,os,struct,sys\nfd=os.open(sys.argv[1],os.O_RDONLY)\n\
                      print(flush=True)\nsys.stdin.readline()\nfcntl.ioctl(fd,0x8004587d,struct.pack('I',2))";
        let mut command = Command::new("python3");
        command.args(["-c", script]).arg(self.mount_point()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut waiting = command.spawn().expect("it was started before");
        let mut ready = [0];
        waiting.stdout.take().expect("it is piped").read_exact(&mut ready).expect("it opens the folder");
        Switch(waiting)
    }

    fn unmount(&self) -> bool {
        let mut unmount = Command::new("umount");
        unmount.arg(self.mount_point()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    }
}

/// The ioctl that `xfs_io -x -c shutdown` makes, by a process that waits to make it.
struct Switch(std::process::Child);

impl Switch {
    /// Nothing of what is not on the disk gets there any more.
    fn cut_power(mut self) {
        // It waits for a line, or for the end of them.
        drop(self.0.stdin.take());
        assert!(self.0.wait().is_ok_and(|status| status.success()), "the power could not be cut");
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        self.unmount();
    }
}

#[test]
fn a_power_cut_takes_nothing_that_was_acknowledged() {
    for kind in ["ext4", "xfs"] {
        let Some(disk) = Disk::new(kind) else { continue };
        let path = disk.mount_point().join("data");
        let (mut acknowledged, mut total) = ([0; 4], 0);
        let rounds = slow_count(3);
        for round in 0..rounds {
            if round % ROUNDS_A_DIRECTORY == 0 {
                total += begin_anew(&path, &mut acknowledged);
            }
            let (mut child, switch) = (kill::child(&path), disk.switch());
            child.appends();
            std::thread::sleep(Duration::from_millis(200 + 37 * (round as u64 % 10)));
            // Answers from before the cut count. What is said afterwards is said of a disk that is gone, and a machine
            // without power says nothing: the kernel may answer a sync that runs while the disk goes with success.
            kill::remember(&mut acknowledged, child.so_far());
            switch.cut_power();
            child.end();
            assert!(disk.unmount() && disk.mount(), "the image mounts again");
            kill::check(&path, &acknowledged);
        }
        total += acknowledged.iter().sum::<u64>();
        println!("power cuts on {kind}: {rounds}, {total} acknowledged, 0 lost");
        assert!(total > 0);
    }
}

/// The negative control: with syncs that do nothing, the same power cut must be seen to lose what was acknowledged.
/// Else the test above could not fail.
#[test]
fn a_power_cut_is_seen_when_syncs_do_nothing() {
    if !is_installed("eatmydata") {
        println!("skipped: eatmydata is not installed");
        return;
    }
    for kind in ["ext4", "xfs"] {
        let Some(disk) = Disk::new(kind) else { continue };
        let (rounds, mut lost) = (slow_count(2).min(5), 0);
        for round in 0..rounds {
            // A directory that was durable once, so that it is there afterwards.
            let path = disk.mount_point().join(format!("data-{round}"));
            kill::check(&path, &[0; 4]);
            let (mut child, switch) = (kill::child_under(Command::new("eatmydata"), &path), disk.switch());
            child.appends();
            std::thread::sleep(Duration::from_millis(300));
            let answered = child.so_far();
            switch.cut_power();
            child.end();
            assert!(disk.unmount() && disk.mount(), "the image mounts again");
            lost += usize::from(kill::loss(&path, &answered).is_some());
        }
        println!("power cuts on {kind} with syncs that do nothing: {rounds}, {lost} seen to lose acknowledged records");
        assert!(lost > 0, "a power cut that loses nothing without syncs shows nothing");
    }
}
