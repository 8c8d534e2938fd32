"""What clients can cost: bounded queues for those that don't keep up, an end for connections that are stuck, no needless copies.

asyncua bounds the queue of each monitored item, but not all of them together, lets the bound be lifted by ModifyMonitoredItems,
does not tell what it dropped, and writes to a peer that never reads as long as there is memory. Overflow: OPC 10000-4, 7.7.1.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import math
import time
from collections.abc import Callable
from typing import Any

from asyncua import ua
from asyncua.server.internal_subscription import InternalSubscription
from asyncua.server.monitored_item_service import MonitoredItemData, MonitoredItemService, MonitoredItemValues
from asyncua.server.subscription_service import SubscriptionService

_log = logging.getLogger(__name__)

MOST_HELD = 20_000  # notifications of one subscription: five seconds of a bench that changes 4,000 times a second
MOST_SUBSCRIPTIONS = 100  # of all clients together
MOST_UNACKNOWLEDGED = 200  # messages of one subscription that are kept for being asked for again
LEAST_INTERVAL_MS = 10.0  # between two messages of one subscription
STUCK_BYTES = 1 << 20  # what may wait to be read by a client before nothing more is taken from it
STUCK_S = 10.0  # how long a client may leave that much unread

_OVERFLOW = 0x480  # InfoType DataValue and the Overflow bit: OPC 10000-4, table of DataValue InfoBits


class BoundedSubscription(InternalSubscription):
    """A subscription that holds at most `MOST_HELD` notifications. The oldest give way, and the next one left says so."""

    _held = 0

    async def _enqueue_event(self, mid: int, eventdata: Any, size: int, queue: dict[int, list[Any]]) -> None:
        most = min(size, self.max_queue_size) if size else self.max_queue_size
        waiting = queue.get(mid)
        if waiting is None:
            queue[mid] = waiting = []
        waiting.append(eventdata)
        self._held += 1
        if len(waiting) > most:
            self._drop_oldest(waiting, tell=most > 1)
        elif self._held > MOST_HELD:
            longest = waiting if len(waiting) > 1 else max(queue.values(), key=len)
            self._drop_oldest(longest, tell=True)
        if len(waiting) == 1:
            await self._trigger_publish()

    def _drop_oldest(self, waiting: list[Any], *, tell: bool) -> None:
        waiting.pop(0)
        self._held -= 1
        if tell and waiting and isinstance(waiting[0], ua.MonitoredItemNotification):
            told = waiting[0].Value
            if told.StatusCode is not None and not told.StatusCode.value & 0x80:
                code = ua.StatusCode(ua.UInt32(told.StatusCode.value | _OVERFLOW))
                # The value belongs to the address space and to other subscriptions too.
                waiting[0].Value = dataclasses.replace(told, StatusCode=code)

    def _pop_triggered_datachanges(self, result: ua.PublishResult) -> None:
        self._held -= sum(map(len, self._triggered_datachanges.values()))
        super()._pop_triggered_datachanges(result)

    def _pop_triggered_events(self, result: ua.PublishResult) -> None:
        self._held -= sum(map(len, self._triggered_events.values()))
        super()._pop_triggered_events(result)


class _LastValues(MonitoredItemValues):
    """The last two values of an item, as they are: asyncua's deep copies cost as much as all the rest of a change."""

    def set_current_datavalue(self, cur_val: ua.DataValue) -> None:
        self.old_dvalue, self.current_dvalue = self.current_dvalue, cur_val


class SharingItems(MonitoredItemService):
    """Monitored items that share the values that are written. None is ever changed after it was written: a new one is."""

    def _make_monitored_item_common(
        self, params: ua.MonitoredItemCreateRequest
    ) -> tuple[ua.MonitoredItemCreateResult, MonitoredItemData]:
        result, item = super()._make_monitored_item_common(params)
        item.mvalue = _LastValues()
        return result, item


class BoundedSubscriptions(SubscriptionService):
    """asyncua's service with bounded subscriptions, and a floor under the publishing interval."""

    async def create_subscription(
        self,
        params: ua.CreateSubscriptionParameters,
        callback: Callable[..., Any],
        session_id: ua.NodeId,
        request_callback: Callable[..., Any] | None = None,
    ) -> ua.CreateSubscriptionResult:
        """Create a subscription; a publishing interval that is no number, or too short, becomes the shortest."""
        asked = params.RequestedPublishingInterval
        params.RequestedPublishingInterval = ua.Double(
            max(asked, LEAST_INTERVAL_MS) if math.isfinite(asked) else LEAST_INTERVAL_MS
        )
        result = await super().create_subscription(params, callback, session_id, request_callback)
        # asyncua makes these two itself and takes no other classes for them.
        made = self.subscriptions[result.SubscriptionId]
        made.__class__ = BoundedSubscription
        made.monitored_item_srv.__class__ = SharingItems
        return result


async def watch_connections(connections: Callable[[], list[asyncio.Transport]]) -> None:
    """Take nothing more from a client that doesn't read what it is sent, and end its connection after `STUCK_S` seconds."""
    since: dict[int, float] = {}
    while True:
        await asyncio.sleep(0.25)
        open_now = connections()
        for gone in since.keys() - {id(transport) for transport in open_now}:
            del since[gone]
        for transport in open_now:
            if transport.is_closing() and not transport.get_write_buffer_size():
                continue
            if transport.get_write_buffer_size() <= STUCK_BYTES:
                if since.pop(id(transport), None) is not None and not transport.is_closing():
                    transport.resume_reading()
                continue
            begun = since.setdefault(id(transport), time.monotonic())
            if not transport.is_closing():
                transport.pause_reading()
            if time.monotonic() - begun > STUCK_S:
                _log.warning("mirror: %s reads nothing, hung up", transport.get_extra_info("peername"))
                transport.abort()
