//! The processor, from `/proc/cpuinfo`.

use serde::Serialize;

use super::super::fact::Fact;

/// Instruction sets that decide how fast a detector runs, by the kernel's names (x86, then Arm).
const FLAGS_OF_INTEREST: [&str; 22] = [
    "sse4_2",
    "avx",
    "f16c",
    "fma",
    "avx2",
    "avx_vnni",
    "avx_vnni_int8",
    "avx512f",
    "avx512dq",
    "avx512bw",
    "avx512vl",
    "avx512_vnni",
    "avx512_bf16",
    "avx512_fp16",
    "amx_tile",
    "amx_int8",
    "amx_bf16",
    "asimd",
    "asimddp",
    "i8mm",
    "bf16",
    "sve",
];

/// What the processor is and can do.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct CpuInfo {
    /// Who made it.
    pub vendor: Fact<String>,
    /// What it calls itself; virtual machines often shorten this.
    pub model_name: Fact<String>,
    /// Family number (x86).
    pub family: Fact<u32>,
    /// Model number (x86).
    pub model: Fact<u32>,
    /// Stepping (x86).
    pub stepping: Fact<u32>,
    /// Revision of the microcode.
    pub microcode: Fact<String>,
    /// Those of its instruction sets that matter here.
    pub flags: Vec<&'static str>,
    /// Whether it multiplies and adds bytes in one instruction (`avx512_vnni` or `avx_vnni`): without
    /// it, int8 models are slower and may saturate.
    pub vnni: Fact<bool>,
    #[serde(skip)]
    pub(super) virtualised: Fact<bool>,
    /// `cpu MHz` of each CPU that states it.
    #[serde(skip)]
    mhz: Vec<(usize, f64)>,
}

impl CpuInfo {
    /// Parses the text of `/proc/cpuinfo`; model and flags are those of the first CPU.
    pub(super) fn parse(text: &str) -> Self {
        let first = |key: &str| {
            let value = |line: &str| {
                let (found, value) = line.split_once(':')?;
                (found.trim() == key).then(|| value.trim().to_owned())
            };
            text.lines()
                .find_map(value)
                .filter(|value| !value.is_empty())
        };
        let number = |key| Fact::from(first(key).and_then(|value| value.parse().ok()));
        let x86 = first("flags");
        let words = x86.clone().or_else(|| first("Features"));
        let has = |flag: &str| {
            words
                .iter()
                .flat_map(|all| all.split(' '))
                .any(|one| one == flag)
        };
        let if_x86 = |answer: bool| Fact::from(x86.as_ref().map(|_| answer));
        Self {
            vendor: first("vendor_id")
                .or_else(|| first("CPU implementer"))
                .into(),
            model_name: first("model name").into(),
            family: number("cpu family"),
            model: number("model"),
            stepping: number("stepping"),
            microcode: first("microcode").into(),
            flags: FLAGS_OF_INTEREST
                .into_iter()
                .filter(|flag| has(flag))
                .collect(),
            vnni: if_x86(has("avx512_vnni") || has("avx_vnni")),
            virtualised: if_x86(has("hypervisor")),
            mhz: frequencies(text),
        }
    }

    /// The frequency that the kernel states for a CPU.
    pub(super) fn mhz_of(&self, cpu: usize) -> Option<f64> {
        let (_, mhz) = self.mhz.iter().find(|(id, _)| *id == cpu)?;
        Some(*mhz)
    }
}

fn frequencies(text: &str) -> Vec<(usize, f64)> {
    let mut found = Vec::new();
    let mut cpu = None;
    for (key, value) in text.lines().filter_map(|line| line.split_once(':')) {
        match key.trim() {
            "processor" => cpu = value.trim().parse().ok(),
            "cpu MHz" => found.extend(cpu.zip(value.trim().parse().ok())),
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CASCADE_LAKE: &str = "\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 85
model name\t: Intel(R) Xeon(R) Platinum 8280 CPU @ 2.70GHz
stepping\t: 7
microcode\t: 0x5003604
cpu MHz\t\t: 1000.123
flags\t\t: fpu sse4_2 fma avx avx2 avx512f avx512dq avx512bw avx512vl avx512_vnni

processor\t: 1
model name\t: another
cpu MHz\t\t: 3300.000
flags\t\t: hypervisor
";

    #[test]
    fn a_cascade_lake_is_recognised() {
        let cpu = CpuInfo::parse(CASCADE_LAKE);
        assert_eq!(
            (cpu.family, cpu.model, cpu.stepping),
            (Fact::Known(6), Fact::Known(85), Fact::Known(7))
        );
        assert_eq!(cpu.microcode, Fact::Known("0x5003604".to_owned()));
        assert!(cpu.model_name.to_string().contains("8280 CPU @ 2.70GHz"));
        let flags = [
            "sse4_2",
            "avx",
            "fma",
            "avx2",
            "avx512f",
            "avx512dq",
            "avx512bw",
            "avx512vl",
            "avx512_vnni",
        ];
        assert_eq!(cpu.flags, flags);
        assert_eq!(
            (cpu.vnni, cpu.virtualised),
            (Fact::Known(true), Fact::Known(false))
        );
        assert_eq!(
            (cpu.mhz_of(0), cpu.mhz_of(1), cpu.mhz_of(2)),
            (Some(1000.123), Some(3300.0), None)
        );
    }

    #[test]
    fn vnni_comes_in_two_encodings_and_its_absence_is_known_on_x86_only() {
        let vnni = |line: &str| CpuInfo::parse(line).vnni;
        assert_eq!(vnni("flags : avx2 avx_vnni"), Fact::Known(true));
        assert_eq!(vnni("flags : avx512f avx2"), Fact::Known(false));
        let arm =
            CpuInfo::parse("processor : 0\nFeatures : fp asimd asimddp\nCPU implementer : 0x41\n");
        assert_eq!((arm.vnni, arm.virtualised), (Fact::Unknown, Fact::Unknown));
        assert_eq!(arm.flags, ["asimd", "asimddp"]);
        assert_eq!(arm.vendor, Fact::Known("0x41".to_owned()));
    }
}
