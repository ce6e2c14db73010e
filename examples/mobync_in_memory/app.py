"""A Flask backend in memory for devices that speak mobync; README.md says how to run it."""

import json
import sys

from flask import Flask, abort, jsonify, request
from flask.typing import ResponseReturnValue

from reunite.dropin.mobync import InMemorySynchronizer, Mobync, flask_blueprint

app = Flask(__name__)
tables = {"tasks": ["title", "done"]}
synchronizer = InMemorySynchronizer(tables)
mobync = Mobync(synchronizer)


def owner_of(auth_token: str) -> str:
    """Whoever says a name has it. Look a token up instead."""
    return auth_token


app.register_blueprint(flask_blueprint(mobync, owner_of))


@app.get("/list-db")
def list_db() -> ResponseReturnValue:
    found = {name: json.loads(synchronizer.read(name, [])) for name in (*tables, "diffs")}
    return jsonify(found)


@app.post("/add-item")
def add_item() -> ResponseReturnValue:
    asked = request.get_json()
    try:
        if set(asked["data"]) != {"id", *tables[asked["where"]]}:
            abort(400)
        synchronizer.create(asked["where"], json.dumps(asked["data"]))
    except (KeyError, TypeError, ValueError):
        abort(400)
    return list_db()


@app.post("/delete-item")
def delete_item() -> ResponseReturnValue:
    asked = request.get_json()
    try:
        if asked["where"] not in tables:
            abort(400)
        synchronizer.delete(asked["where"], json.dumps({"id": asked["id"]}))
    except (KeyError, TypeError):
        abort(400)
    return list_db()


if __name__ == "__main__":
    app.run(port=int(sys.argv[1]) if len(sys.argv) > 1 else 5000)
