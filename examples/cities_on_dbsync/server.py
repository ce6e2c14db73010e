"""The server of dbsync's README: its Flask routes, with one import changed.

python server.py [PORT]
"""

import json
import sys

from flask import Flask, request
from models import Base, models
from sqlalchemy import create_engine

from reunite.dropin import dbsync
from reunite.dropin.dbsync import server

engine = create_engine("sqlite:///server.db")
dbsync.set_engine(engine)
City, Person = models(server.track)
Base.metadata.create_all(engine)
dbsync.create_all()
app = Flask(__name__)


@app.route("/ping", methods=["HEAD", "GET"])
def ping():
    return ""


@app.route("/repair", methods=["GET"])
def repair():
    return (
        json.dumps(server.handle_repair(request.args)),
        200,
        {"Content-Type": "application/json"},
    )


@app.route("/register", methods=["POST"])
def register():
    return (json.dumps(server.handle_register()), 200, {"Content-Type": "application/json"})


@app.route("/pull", methods=["POST"])
def pull():
    return (
        json.dumps(server.handle_pull_request(request.json)),
        200,
        {"Content-Type": "application/json"},
    )


@app.route("/push", methods=["POST"])
def push():
    try:
        return (
            json.dumps(server.handle_push(request.json)),
            200,
            {"Content-Type": "application/json"},
        )
    except server.handlers.PushRejected as e:
        return (
            json.dumps({"error": [repr(arg) for arg in e.args]}),
            400,
            {"Content-Type": "application/json"},
        )


@app.route("/query", methods=["GET"])
def query():
    return (
        json.dumps(server.handle_query(request.args)),
        200,
        {"Content-Type": "application/json"},
    )


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
