"""sb-sync's interface, made correct: a Django app over `reunite.contrib.django`.

    INSTALLED_APPS += ["reunite.contrib.django", "reunite.dropin.sb_sync"]
    path("api/sync/", include("reunite.dropin.sb_sync.urls"))

    auth/token/ ──► a JWT            push/ ──► items ──► `hub.push` ──► results
                                     pull/ ──► times or cursors ──► `hub.pull` ──► rows

What it is       the paths, shapes, models and commands of sb-sync's README.
What it is not   an engine: what is written, merged, numbered and seen is `reunite`'s own; this app
                 keeps no log of changes and decides no merge.
"""
