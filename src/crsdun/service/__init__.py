"""The service: one method behind HTTP, for programs that send measurements and fetch cubes.

``crsdun serve`` starts it. One process talks HTTP; others, one or more for each device, read, decode and write. They
are LitServe's, which starts them, carries messages between them, and starts one anew that has ended.

- ``config`` what it was started with · ``server`` starting and ending · ``engine`` the processes that decode
- ``front`` what each request does · ``door`` who is let in · ``desk`` how many wait, and for how long
- ``settings`` what a request may say · ``decoder`` from its files to its answer · ``results`` the kinds of answers
- ``openapi`` the description of all this · ``figures`` for Prometheus · ``wording`` errors in terms of requests
"""
