//! Experiments.
use adaptive_simulation::{algorithm::*, known, naive::*, random, run::*, world::*};

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn compare(world: &World, seed: u64, p: Params) -> Vec<(f64, f64, f64, u64)> {
    let knee = run(world, seed, &mut |_| {
        if p.variant == 9 {
            Box::new(adaptive_simulation::core::Core::shared_by((1.0 / p.theta).round() as u32 - 1))
                as Box<dyn Algorithm>
        } else {
            Box::new(Naive::new(p))
        }
    });
    let best = run(world, seed, &mut |_| Box::new(Best(1)));
    knee.iter()
        .zip(&best)
        .map(|(k, b)| {
            (k.served as f64 / b.served as f64, k.latency() / b.latency(), k.fairness(), b.all)
        })
        .collect()
}

fn params(args: &[String]) -> Params {
    let mut p = Params::default();
    for a in args {
        let Some((k, v)) = a.split_once('=') else { continue };
        let v: f64 = v.parse().unwrap_or(0.0);
        match k {
            "theta" => p.theta = v,
            "gmin" => p.g_min = v,
            "base" => p.base = v,
            "per" => p.per = v,
            "accel" => p.accel = v,
            "decay" => p.decay = v,
            "lost" => p.lost = v > 0.0,
            "z" => p.z = v,
            "variant" => p.variant = v as u32,
            "a" => p.a = v,
            "b" => p.b = v,
            "c" => p.c = v,
            "least" => p.least = v,
            "g0" => p.g0 = v,
            "max" => p.max = v as u32,
            "min" => p.min = v as u32,
            _ => {}
        }
    }
    p
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let p = params(&args);
    if args[1] == "known" {
        let mut met = 0;
        let mut of = 0;
        let (mut gx, mut gr) = (0.0, 0.0);
        for world in known::worlds() {
            let mut p = p;
            if world.limiters > 2 {
                p.theta = 1.0 / f64::from(world.limiters + 1);
            }
            let runs: Vec<_> = (0..5).map(|s| compare(&world, s, p)).collect();
            for (i, phase) in world.phases.iter().enumerate() {
                if phase.name.is_empty() {
                    continue;
                }
                let x = median(runs.iter().map(|r| r[i].0).collect());
                let r = median(runs.iter().map(|r| r[i].1).collect());
                let j = median(runs.iter().map(|r| r[i].2).collect());
                let ok = x >= 0.9 && r <= 1.25;
                met += i32::from(ok);
                of += 1;
                gx += x.ln();
                gr += r.ln();
                println!(
                    "{:32} {x:.3} / {r:.3}  {j:.2} {}",
                    phase.name,
                    if ok { "" } else { "FAIL" }
                );
            }
        }
        println!("met {met} of {of}, {:.3} {:.3}", (gx / of as f64).exp(), (gr / of as f64).exp());
    } else if args[1] == "growth" {
        let phases = vec![
            Phase { capacity: 10, ..Phase::new("", 30.0) },
            Phase { capacity: 40, service: 0.1, ..Phase::new("growth", 60.0) },
        ];
        let w = World {
            name: "growth".into(),
            server: Server::Fifo,
            limiters: 1,
            max_queue: 400,
            phases,
        };
        let mut ts = vec![];
        for seed in 0..9 {
            let r = run(&w, seed, &mut |_| {
                if p.variant == 9 {
                    Box::new(adaptive_simulation::core::Core::shared_by(
                        (1.0 / p.theta).round() as u32 - 1,
                    )) as Box<dyn Algorithm>
                } else {
                    Box::new(Naive::new(p))
                }
            });
            let b = &r[1].bins;
            let t = b.iter().position(|b| b.limit / 0.5e9 >= 36.0).map_or(99.0, |i| i as f64 * 0.5);
            ts.push(t);
        }
        println!("growth {ts:?} median {}", median(ts.clone()));
    } else if args[1] == "random" {
        let from: u64 = args[2].parse().unwrap();
        let to: u64 = args[3].parse().unwrap();
        let verbose = args.iter().any(|a| a == "-v");
        let threads = 2;
        let next = std::sync::atomic::AtomicU64::new(from);
        let out = std::sync::Mutex::new(Vec::new());
        std::thread::scope(|s| {
            for _ in 0..threads {
                s.spawn(|| {
                    loop {
                        let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        if seed >= to {
                            return;
                        }
                        let w = random::world(seed);
                        let r = compare(&w, seed, p);
                        out.lock().unwrap().push((seed, w, r));
                    }
                });
            }
        });
        let mut all = out.into_inner().unwrap();
        all.sort_by_key(|x| x.0);
        let mut t = [(0, 0); 4];
        let (mut wx, mut wr) = (1.0f64, 1.0f64);
        let mut lats = vec![];
        let mut xs = vec![];
        for (seed, w, rs) in &all {
            for (i, (x, r, _, n)) in rs.iter().enumerate() {
                let ok = *x >= 0.9 && *r <= 1.25;
                let ph = &w.phases[i];
                let class = if ph.capacity >= 8 && *n >= 40_000 {
                    1
                } else if *n >= 40_000 {
                    2
                } else {
                    3
                };
                t[class].0 += i32::from(ok);
                t[class].1 += 1;
                t[0].0 += i32::from(ok);
                t[0].1 += 1;
                wx = wx.min(*x);
                wr = wr.max(*r);
                lats.push(*r);
                xs.push(*x);
                if verbose && !ok {
                    println!(
                        "{seed} {i} {:?} c={} s={:.4} {:?} {:?} load={:.2} n={n} {} : {x:.3} / {r:.3}",
                        w.server, ph.capacity, ph.service, ph.times, ph.course, ph.load, ph.name
                    );
                }
            }
        }
        lats.sort_by(f64::total_cmp);
        xs.sort_by(f64::total_cmp);
        let q = |v: &Vec<f64>, f: f64| v[((v.len() - 1) as f64 * f) as usize];
        let share = |(a, b): (i32, i32)| f64::from(a) / f64::from(b.max(1));
        println!(
            "all {:.3} ({})  big {:.3} ({})  small-many {:.3} ({})  few {:.3} ({})  worst {wx:.2} {wr:.2} x5% {:.3} r95% {:.3} r99 {:.2}",
            share(t[0]),
            t[0].1,
            share(t[1]),
            t[1].1,
            share(t[2]),
            t[2].1,
            share(t[3]),
            t[3].1,
            q(&xs, 0.05),
            q(&lats, 0.95),
            q(&lats, 0.99)
        );
    }
}
