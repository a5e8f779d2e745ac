"""What every server of ours has in common: the explorer (``viewing.app``) and the service (``service``).

- ``listening`` where it listens · ``guarding`` what stands before it · ``origin`` who a request comes from
- ``values`` what it says, by name and type
- ``uploads`` what files that come in may be called and unpack to · ``answers`` JSON and files · ``archives`` folders
- ``wording`` errors without the folders of this machine
"""
