//! What a failed case leaves behind.

use super::Run;

impl Run<'_> {
    /// The frames so far, for Wireshark.
    fn write_capture(&self) -> std::io::Result<std::path::PathBuf> {
        let name: String = self
            .name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        let path = std::env::temp_dir().join(format!("packet-table-{name}.pcap"));
        let words: [u32; 6] = [0xa1b2_c3d4, 0x0004_0002, 0, 0, 65_535, 1];
        let mut file: Vec<u8> = words.iter().flat_map(|word| word.to_ne_bytes()).collect();
        let frames = self.log.iter().flat_map(|step| [&step.input, &step.output]);
        for (second, frame) in frames.enumerate() {
            let len = frame.len() as u32;
            for word in [second as u32, 0, len, len] {
                file.extend(word.to_ne_bytes());
            }
            file.extend(frame);
        }
        std::fs::write(&path, file)?;
        Ok(path)
    }
}

/// On failure, prints the whole state and leaves a capture behind.
impl Drop for Run<'_> {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!(
            "case `{}` failed after {} frames",
            self.name,
            self.log.len()
        );
        if let Some(last) = self.log.last() {
            eprintln!("last frame: {:?} {:02x?}", last.link, last.input);
            eprintln!("{:?}: {:02x?}", last.action, last.output);
            eprintln!("moved: {:?}", last.moved);
        }
        let nonzero: Vec<_> = self.before.counters.iter().filter(|c| *c.1 != 0).collect();
        eprintln!("counters: {nonzero:#?}");
        for (key, flow) in self.machine.flows().into_iter().take(8) {
            let slot = &self.machine.seen().slots[flow.slot as usize];
            eprintln!("{key:?} -> {flow:?}: {slot:?}");
        }
        match self.write_capture() {
            Ok(path) => eprintln!("frames in and out: {}", path.display()),
            Err(error) => eprintln!("no capture: {error}"),
        }
    }
}
