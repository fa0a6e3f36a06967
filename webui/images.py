"""Downloads of a release's images: the first who wants one lets the farm make it and sees how far it is."""

from flask import Blueprint, abort, redirect, render_template, send_file, url_for
from werkzeug.wrappers import Response

from webui.access import Role, needs
from webui.context import services, who

KINDS = {"online": False, "offline": True}
TYPE = "application/x-iso9660-image"

# An offline image holds what signs the reports of machines installed from it: not for everybody who looks.
area = Blueprint("images", __name__)


def page(release: str, kind: str) -> Response:
    return redirect(url_for("images.image", release=release, kind=kind), code=303)


@area.get("/release/<release>/<any(online, offline):kind>.iso")
@needs(Role.OPERATOR)
def image_file(release: str, kind: str) -> Response:
    desk = services().downloads
    found = desk.look(release, offline=KINDS[kind])
    if found.wanted is None:
        desk.want(release, offline=KINDS[kind], who=who())
        return page(release, kind)
    if found.path is None:
        return page(release, kind)
    try:
        return send_file(
            found.path,
            mimetype=TYPE,
            as_attachment=True,
            download_name=found.name,
            conditional=True,
            etag=found.wanted.sha256,
        )
    except FileNotFoundError:  # gc came between
        abort(404)


@area.get("/release/<release>/<any(online, offline):kind>")
@needs(Role.VIEWER)
def image(release: str, kind: str) -> str:
    found = services().downloads.look(release, offline=KINDS[kind])
    return render_template("image.html", shown=found)


@area.post("/release/<release>/<any(online, offline):kind>")
@needs(Role.OPERATOR)
def image_again(release: str, kind: str) -> Response:
    services().downloads.want(release, offline=KINDS[kind], who=who())
    return page(release, kind)
