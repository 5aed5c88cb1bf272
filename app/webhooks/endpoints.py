"""`/v1/webhooks`: who is told what happened, and what was sent."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from app import answers
from app.deps import Caller, Live
from app.describe import answers as described
from app.pages import After, Limit, page
from app.route import Route
from app.schemas import Page
from app.webhooks import service
from app.webhooks.schemas import Delivery, Webhook, WebhookOnce, WebhookPatch, WebhookPost

router = APIRouter(route_class=Route, tags=["webhooks"])
WebhookId = Annotated[str, Path(description="`whk_...`", examples=["whk_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])]
DeliveryId = Annotated[str, Path(description="`dlv_...`", examples=["dlv_0198d3f0c2a97c3f8a51f0a9a4d1c0de"])]
ONCE = ("idempotency_in_progress", "idempotency_key_reused")


@router.post(
    "/v1/webhooks",
    status_code=201,
    summary="Make a webhook",
    responses=described(
        WebhookOnce,
        *("validation_error", "source_not_allowed", "source_unreachable", "quota_exceeded", *ONCE),
        status=201,
        text="The secret is shown this once",
        headers={"Location": "where the webhook is"},
    ),
)
def create_webhook(request: Request, services: Live, caller: Caller, webhook: WebhookPost) -> Response:
    """Every event is POSTed there as JSON, signed as the Standard Webhooks specification says (`webhook-id`,
    `webhook-timestamp`, `webhook-signature`), until an answer is 2xx: after 5 s, 1, 5 and 30 minutes, 2, 5, 10 and 20 hours.
    An event may arrive twice; `webhook-id` tells."""
    body, secret = service.create(services, caller, webhook.model_dump())
    headers = {"Location": f"{services.settings.root_path}/v1/webhooks/{body['id']}", "Cache-Control": "no-store"}
    slot = getattr(request.state, "idempotency", None)
    if slot is not None:  # what is stored for a replay must not hold the secret
        slot.store(answers.json({**body, "secret": None}, 201, headers))
    return answers.json({**body, "secret": secret}, 201, headers)


@router.get("/v1/webhooks", summary="List webhooks", responses=described(Page[Webhook]))
def list_webhooks(services: Live, caller: Caller, limit: Limit = 20, after: After = None) -> Response:
    """Newest first."""
    found = service.listed(services, caller, after, limit)
    return answers.json(page(found, limit, lambda r: service.to_json(r._mapping), lambda r: r.id))


@router.get("/v1/webhooks/{webhook_id}", summary="Get a webhook", responses=described(Webhook, "not_found"))
def get_webhook(services: Live, caller: Caller, webhook_id: WebhookId) -> Response:
    return answers.json(service.to_json(service.get(services, caller, webhook_id)._mapping))


@router.patch(
    "/v1/webhooks/{webhook_id}",
    summary="Change a webhook",
    responses=described(Webhook, "validation_error", "not_found", "source_not_allowed", "source_unreachable"),
)
def change_webhook(services: Live, caller: Caller, webhook_id: WebhookId, webhook: WebhookPatch) -> Response:
    """What is left out stays as it is.  Deliveries that wait go to the new address."""
    given = {k: v for k, v in webhook.model_dump(exclude_unset=True).items() if v is not None}
    return answers.json(service.change(services, caller, webhook_id, given))


@router.delete(
    "/v1/webhooks/{webhook_id}",
    status_code=204,
    summary="Delete a webhook",
    responses=described(None, "not_found", status=204, text="Nothing is sent there any more"),
)
def delete_webhook(services: Live, caller: Caller, webhook_id: WebhookId) -> Response:
    """With its deliveries, those that wait, too."""
    service.delete(services, caller, webhook_id)
    return Response(status_code=204)


@router.post(
    "/v1/webhooks/{webhook_id}/test",
    status_code=202,
    summary="Send a test",
    responses=described(
        Delivery,
        *("not_found", "invalid_transition", *ONCE),
        status=202,
        text="Queued",
        headers={"Location": "where the delivery is"},
    ),
)
def test_webhook(services: Live, caller: Caller, webhook_id: WebhookId) -> Response:
    """An event of type `webhook.test`."""
    sent = service.test(services, caller, webhook_id)
    return answers.accepted(sent, _location(services, sent))


@router.get(
    "/v1/webhooks/{webhook_id}/deliveries",
    summary="What was sent",
    responses=described(Page[Delivery], "not_found"),
)
def list_deliveries(
    services: Live, caller: Caller, webhook_id: WebhookId, limit: Limit = 20, after: After = None
) -> Response:
    """Newest first; those that are over are kept for 30 days."""
    found = service.deliveries(services, caller, webhook_id, after, limit)
    return answers.json(page(found, limit, service.delivery_json, lambda r: r.id))


@router.get(
    "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}",
    summary="Get a delivery",
    responses=described(Delivery, "not_found"),
)
def get_delivery(services: Live, caller: Caller, webhook_id: WebhookId, delivery_id: DeliveryId) -> Response:
    return answers.json(service.delivery(services, caller, webhook_id, delivery_id))


@router.post(
    "/v1/webhooks/{webhook_id}/deliveries/{delivery_id}/redeliver",
    status_code=202,
    summary="Send it again",
    responses=described(
        Delivery, *("not_found", *ONCE), status=202, text="Queued", headers={"Location": "where the delivery is"}
    ),
)
def redeliver(services: Live, caller: Caller, webhook_id: WebhookId, delivery_id: DeliveryId) -> Response:
    """The same event with the same `webhook-id`, from the first attempt on."""
    sent = service.redeliver(services, caller, webhook_id, delivery_id)
    return answers.accepted(sent, _location(services, sent))


def _location(services: Live, sent: dict[str, object]) -> str:
    return f"{services.settings.root_path}/v1/webhooks/{sent['webhook_id']}/deliveries/{sent['id']}"
