//! The official random seeds of the MLPerf Inference rounds.
//!
//! *Source*: the load generator's configuration as published for each round. `test05` are the
//! alternative seeds of the audit of the same name (no longer required since v5.0).

use serde::Serialize;

use crate::settings::test_settings::{SettingError, TestSettings};

/// The three seeds of a run, one for each concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Seeds {
    /// Which samples are loaded, and in which order.
    pub qsl: u64,
    /// Which loaded samples the queries ask for.
    pub sample_index: u64,
    /// When the queries of Server are scheduled.
    pub schedule: u64,
}

/// One round of MLPerf Inference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Round {
    /// The round's name, such as `v6.1`.
    pub name: &'static str,
    /// The seeds of its runs.
    pub seeds: Seeds,
    /// The seeds of its TEST05 runs, where it had that audit.
    pub test05: Option<Seeds>,
}

/// Every round whose seeds are known, oldest first.
pub const ROUNDS: [Round; 14] = [
    Round {
        name: "v0.5",
        seeds: Seeds {
            qsl: 3_133_965_575_612_453_542,
            sample_index: 665_484_352_860_916_858,
            schedule: 3_622_009_729_038_561_421,
        },
        test05: None,
    },
    Round {
        name: "v0.7",
        seeds: Seeds {
            qsl: 12_786_827_339_337_101_903,
            sample_index: 12_640_797_754_436_136_668,
            schedule: 3_135_815_929_913_719_677,
        },
        test05: Some(Seeds {
            qsl: 313_588_358_309_856_706,
            sample_index: 471_397_156_132_239_067,
            schedule: 413_914_573_387_865_862,
        }),
    },
    Round {
        name: "v1.0",
        seeds: Seeds {
            qsl: 7_322_528_924_094_909_334,
            sample_index: 1_570_999_273_408_051_088,
            schedule: 3_507_442_325_620_259_414,
        },
        test05: Some(Seeds {
            qsl: 313_588_358_309_856_706,
            sample_index: 471_397_156_132_239_067,
            schedule: 413_914_573_387_865_862,
        }),
    },
    Round {
        name: "v1.1",
        seeds: Seeds {
            qsl: 1_624_344_308_455_410_291,
            sample_index: 517_984_244_576_520_566,
            schedule: 10_051_496_985_653_635_065,
        },
        test05: Some(Seeds {
            qsl: 313_588_358_309_856_706,
            sample_index: 471_397_156_132_239_067,
            schedule: 413_914_573_387_865_862,
        }),
    },
    Round {
        name: "v2.0",
        seeds: Seeds {
            qsl: 6_655_344_265_603_136_530,
            sample_index: 15_863_379_492_028_895_792,
            schedule: 12_662_793_979_680_847_247,
        },
        test05: Some(Seeds {
            qsl: 313_588_358_309_856_706,
            sample_index: 471_397_156_132_239_067,
            schedule: 413_914_573_387_865_862,
        }),
    },
    Round {
        name: "v2.1",
        seeds: Seeds {
            qsl: 14_284_205_019_438_841_327,
            sample_index: 4_163_916_728_725_999_944,
            schedule: 299_063_814_864_929_621,
        },
        test05: Some(Seeds {
            qsl: 313_588_358_309_856_706,
            sample_index: 471_397_156_132_239_067,
            schedule: 413_914_573_387_865_862,
        }),
    },
    Round {
        name: "v3.0",
        seeds: Seeds {
            qsl: 10_003_631_887_983_097_364,
            sample_index: 17_183_018_601_990_103_738,
            schedule: 12_134_888_396_634_371_638,
        },
        test05: Some(Seeds {
            qsl: 14_646_058_500_348_515_648,
            sample_index: 1_207_248_993_894_122_914,
            schedule: 11_879_132_697_760_422_006,
        }),
    },
    Round {
        name: "v3.1",
        seeds: Seeds {
            qsl: 148_687_905_518_835_231,
            sample_index: 520_418_551_913_322_573,
            schedule: 811_580_660_758_947_900,
        },
        test05: Some(Seeds {
            qsl: 793_197_339_507_417_767,
            sample_index: 255_610_748_586_851_044,
            schedule: 352_213_341_366_340_113,
        }),
    },
    Round {
        name: "v4.0",
        seeds: Seeds {
            qsl: 13_281_865_557_512_327_830,
            sample_index: 198_141_574_272_810_017,
            schedule: 7_575_108_116_881_280_410,
        },
        test05: Some(Seeds {
            qsl: 2_376_919_268_182_438_552,
            sample_index: 11_176_391_829_184_272_374,
            schedule: 3_911_940_905_271_271_337,
        }),
    },
    Round {
        name: "v4.1",
        seeds: Seeds {
            qsl: 3_066_443_479_025_735_752,
            sample_index: 10_688_027_786_191_513_374,
            schedule: 14_962_580_496_156_340_209,
        },
        test05: Some(Seeds {
            qsl: 16_799_458_546_791_641_818,
            sample_index: 5_453_809_927_556_429_288,
            schedule: 5_435_552_105_434_836_064,
        }),
    },
    Round {
        name: "v5.0",
        seeds: Seeds {
            qsl: 6_023_615_788_873_153_749,
            sample_index: 15_036_839_855_038_426_416,
            schedule: 9_933_818_062_894_767_841,
        },
        test05: Some(Seeds {
            qsl: 7_975_553_102_935_885_558,
            sample_index: 11_403_566_307_062_068_064,
            schedule: 15_816_800_565_822_761_601,
        }),
    },
    Round {
        name: "v5.1",
        seeds: Seeds {
            qsl: 1_780_908_523_862_526_354,
            sample_index: 14_771_362_308_971_278_857,
            schedule: 18_209_322_760_996_052_031,
        },
        test05: Some(Seeds {
            qsl: 7_975_553_102_935_885_558,
            sample_index: 11_403_566_307_062_068_064,
            schedule: 15_816_800_565_822_761_601,
        }),
    },
    Round {
        name: "v6.0",
        seeds: Seeds {
            qsl: 2_465_351_861_681_999_779,
            sample_index: 14_276_810_075_590_677_512,
            schedule: 3_936_089_224_930_324_775,
        },
        test05: Some(Seeds {
            qsl: 7_975_553_102_935_885_558,
            sample_index: 11_403_566_307_062_068_064,
            schedule: 15_816_800_565_822_761_601,
        }),
    },
    Round {
        name: "v6.1",
        seeds: Seeds {
            qsl: 2_085_463_073_848_966_840,
            sample_index: 2_747_215_439_041_700_203,
            schedule: 16_159_082_839_903_944_936,
        },
        test05: Some(Seeds {
            qsl: 7_975_553_102_935_885_558,
            sample_index: 11_403_566_307_062_068_064,
            schedule: 15_816_800_565_822_761_601,
        }),
    },
];

impl Round {
    /// The round called `name` (`v6.1`; the letter may be left out).
    ///
    /// # Errors
    /// [`SettingError::UnknownRound`] names the nearest round.
    pub fn find(name: &str) -> Result<&'static Self, SettingError> {
        ROUNDS
            .iter()
            .find(|round| round.name == name || round.name.strip_prefix('v') == Some(name))
            .ok_or_else(|| SettingError::UnknownRound {
                name: name.to_owned(),
                first: ROUNDS[0].name,
                last: ROUNDS[ROUNDS.len() - 1].name,
            })
    }

    /// Puts the round's seeds into `settings`.
    pub fn apply(&self, settings: &mut TestSettings) {
        settings.qsl_rng_seed = self.seeds.qsl;
        settings.sample_index_rng_seed = self.seeds.sample_index;
        settings.schedule_rng_seed = self.seeds.schedule;
        if let Some(test05) = self.test05 {
            settings.test05_qsl_rng_seed = test05.qsl;
            settings.test05_sample_index_rng_seed = test05.sample_index;
            settings.test05_schedule_rng_seed = test05.schedule;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_found_with_and_without_its_letter() {
        assert_eq!(
            Round::find("v6.1").unwrap().seeds.qsl,
            2_085_463_073_848_966_840
        );
        assert_eq!(
            Round::find("0.7").unwrap().test05.unwrap().qsl,
            313_588_358_309_856_706
        );
        let error = Round::find("v6.2").unwrap_err().to_string();
        assert!(
            error.contains("`v6.2`") && error.contains("v6.1"),
            "{error}"
        );
    }

    #[test]
    fn no_two_rounds_share_a_seed() {
        let mut seeds: Vec<u64> = ROUNDS
            .iter()
            .flat_map(|round| {
                [
                    round.seeds.qsl,
                    round.seeds.sample_index,
                    round.seeds.schedule,
                ]
            })
            .collect();
        seeds.sort_unstable();
        seeds.dedup();
        assert_eq!(seeds.len(), 3 * ROUNDS.len());
    }
}
