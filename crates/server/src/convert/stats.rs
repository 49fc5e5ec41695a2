//! What a container uses.

use skiff_api::model as wire;
use skiff_engine::model::{Interface, IoCount, Sample, Usage};

use super::each;
use crate::time;

/// A sample beside the one before it.
pub(crate) fn sample(sample: &Sample, before: Option<&Sample>) -> wire::ContainerStats {
    let (usage, earlier) = (sample.usage.as_ref(), before.and_then(|before| before.usage.as_ref()));
    wire::ContainerStats {
        name: format!("/{}", sample.name),
        id: sample.id.clone(),
        read: time::render(sample.read),
        preread: time::render(before.and_then(|before| before.read)),
        pids_stats: usage
            .map(|u| wire::PidsStats { current: u.pids, limit: u.pids_limit })
            .unwrap_or_default(),
        blkio_stats: usage.map(block_io).unwrap_or_default(),
        cpu_stats: usage.map(cpu).unwrap_or_default(),
        precpu_stats: earlier.map(cpu).unwrap_or_default(),
        memory_stats: usage.map(memory).unwrap_or_default(),
        networks: usage.map(|u| u.networks.iter().map(|(name, i)| (name.clone(), interface(i))).collect()),
        ..wire::ContainerStats::default()
    }
}

fn block_io(usage: &Usage) -> wire::BlkioStats {
    let entries = |counts: &[IoCount], lower: bool| {
        let shown = counts.iter().filter(|c| !lower || matches!(c.operation.as_str(), "Read" | "Write"));
        let entry = |c: &IoCount| wire::BlkioEntry {
            major: c.major,
            minor: c.minor,
            op: if lower { c.operation.to_lowercase() } else { c.operation.clone() },
            value: c.value,
        };
        each(shown, entry)
    };
    if usage.is_v2 {
        // v2 has no more, as far as Docker is concerned; none of it is null.
        let bytes = Some(entries(&usage.io_bytes, true)).filter(|bytes| !bytes.is_empty());
        return wire::BlkioStats { io_service_bytes_recursive: bytes, ..wire::BlkioStats::default() };
    }
    wire::BlkioStats {
        io_service_bytes_recursive: Some(entries(&usage.io_bytes, false)),
        io_serviced_recursive: Some(entries(&usage.io_operations, false)),
        io_queue_recursive: Some(Vec::new()),
        io_service_time_recursive: Some(Vec::new()),
        io_wait_time_recursive: Some(Vec::new()),
        io_merged_recursive: Some(Vec::new()),
        io_time_recursive: Some(Vec::new()),
        sectors_recursive: Some(Vec::new()),
    }
}

fn cpu(usage: &Usage) -> wire::CpuStats {
    wire::CpuStats {
        cpu_usage: wire::CpuUsage {
            total_usage: usage.cpu_total,
            percpu_usage: Some(usage.per_cpu.clone()),
            usage_in_kernelmode: usage.cpu_kernel,
            usage_in_usermode: usage.cpu_user,
        },
        system_cpu_usage: usage.cpu_system,
        online_cpus: usage.cpus,
        throttling_data: wire::ThrottlingData {
            periods: usage.periods,
            throttled_periods: usage.throttled_periods,
            throttled_time: usage.throttled,
        },
    }
}

fn memory(usage: &Usage) -> wire::MemoryStats {
    wire::MemoryStats {
        usage: usage.memory,
        max_usage: usage.memory_peak,
        stats: Some(usage.memory_stat.clone()),
        failcnt: usage.memory_failures,
        limit: usage.memory_limit,
    }
}

fn interface(i: &Interface) -> wire::InterfaceStats {
    wire::InterfaceStats {
        rx_bytes: i.rx_bytes,
        rx_packets: i.rx_packets,
        rx_errors: i.rx_errors,
        rx_dropped: i.rx_dropped,
        tx_bytes: i.tx_bytes,
        tx_packets: i.tx_packets,
        tx_errors: i.tx_errors,
        tx_dropped: i.tx_dropped,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As Docker 28.5.2 writes it for a container that does not run.
    #[test]
    fn what_does_not_run_uses_nothing() {
        let idle = Sample { id: "24a4".into(), name: "web".into(), ..Sample::default() };
        let text = serde_json::to_string(&sample(&idle, None)).unwrap();
        assert_eq!(
            text,
            r#"{"name":"/web","id":"24a4","read":"0001-01-01T00:00:00Z","preread":"0001-01-01T00:00:00Z","pids_stats":{},"blkio_stats":{"io_service_bytes_recursive":null,"io_serviced_recursive":null,"io_queue_recursive":null,"io_service_time_recursive":null,"io_wait_time_recursive":null,"io_merged_recursive":null,"io_time_recursive":null,"sectors_recursive":null},"num_procs":0,"storage_stats":{},"cpu_stats":{"cpu_usage":{"total_usage":0,"usage_in_kernelmode":0,"usage_in_usermode":0},"throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}},"precpu_stats":{"cpu_usage":{"total_usage":0,"usage_in_kernelmode":0,"usage_in_usermode":0},"throttling_data":{"periods":0,"throttled_periods":0,"throttled_time":0}},"memory_stats":{}}"#
        );
    }

    #[test]
    fn v2_tells_reads_and_writes_only() {
        let count = |operation: &str| IoCount {
            major: 8,
            operation: operation.into(),
            value: 7,
            ..IoCount::default()
        };
        let io_bytes = vec![count("Read"), count("Write"), count("Discard")];
        let usage = Usage { is_v2: true, io_bytes, ..Usage::default() };
        let shown = block_io(&usage);
        let bytes = shown.io_service_bytes_recursive.unwrap();
        assert_eq!(bytes.iter().map(|b| b.op.as_str()).collect::<Vec<_>>(), ["read", "write"]);
        assert_eq!(shown.io_serviced_recursive, None);
    }
}
