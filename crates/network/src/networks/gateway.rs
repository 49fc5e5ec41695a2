//! Which of a container's endpoints its default routes lead through, decided as Docker decides it.

use crate::endpoint::EndpointRecord;

/// The positions of the endpoints that give the IPv4 and the IPv6 default route. First comes who has the higher priority,
/// then who leads out by both families, then whose network's name comes first.
pub(crate) fn gateways(endpoints: &[(&EndpointRecord, &str)]) -> (Option<usize>, Option<usize>) {
    let mut order: Vec<usize> = (0..endpoints.len()).collect();
    order.sort_by_key(|&i| {
        let (record, name) = endpoints[i];
        let ways = u8::from(record.way(false).is_some()) + u8::from(record.way(true).is_some());
        (std::cmp::Reverse((record.gateway_priority, ways)), name)
    });
    let first =
        |test: &dyn Fn(&EndpointRecord) -> bool| order.iter().copied().find(|&i| test(endpoints[i].0));
    (first(&|record| record.way(false).is_some()), first(&|record| record.way(true).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::tests::record;

    fn endpoint(gateway: bool, gateway6: bool, priority: i64) -> EndpointRecord {
        EndpointRecord {
            gateway: gateway.then(|| "10.0.0.1".parse().unwrap()),
            gateway6: gateway6.then(|| "fd00::1".parse().unwrap()),
            gateway_priority: priority,
            ..record()
        }
    }

    #[test]
    fn priority_then_families_then_names_decide() {
        let (v4, both, none, v6) = (
            endpoint(true, false, 0),
            endpoint(true, true, 0),
            endpoint(false, false, 9),
            endpoint(false, true, 0),
        );
        assert_eq!(gateways(&[(&v4, "b"), (&v4, "a")]), (Some(1), None));
        assert_eq!(gateways(&[(&v4, "a"), (&both, "b"), (&none, "0")]), (Some(1), Some(1)));
        let wanted = endpoint(true, false, 1);
        assert_eq!(gateways(&[(&both, "a"), (&wanted, "z")]), (Some(1), Some(0)));
        assert_eq!(
            gateways(&[(&endpoint(true, false, -1), "a"), (&v6, "b"), (&v4, "c")]),
            (Some(2), Some(1))
        );
        assert_eq!(gateways(&[(&none, "a")]), (None, None));
        assert_eq!(gateways(&[]), (None, None));
    }
}
