"""python-socketio's own emitters: what its write-only managers publish works here, too."""

from hub.cluster.local import Local
from protocol.python_wire import decode_order


def hear_python(local: Local, data: bytes) -> None:
    """Acts on this node and publishes nothing: every node hears the same message.

    Raises WireError.
    """
    order = decode_order(data)
    if order is None:
        return
    namespace, rooms, into = order.namespace, order.rooms, order.into
    match order.method:
        case "emit" if order.broadcast is not None:
            local.deliver(order.broadcast)
        case "disconnect":
            local.disconnect(namespace, rooms, (), False)
        case "enter_room":
            local.join(namespace, rooms, (), into)
        case "leave_room":
            local.leave(namespace, rooms, (), into)
        case "close_room":
            local.leave(namespace, into, (), into)
