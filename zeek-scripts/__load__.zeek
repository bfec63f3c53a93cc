@load ./main

# In an older Zeek the others name what isn't there; main.zeek ends it with one line.
@if ( Version::number >= 80000 )
@load ./collect
@load ./log
@load ./agents
@load ./conn
@load ./live
@load ./offline
@load ./notice
@load ./ends-key
@load ./tries
@load ./incidents
@load ./muted
@load ./incident-notice
@load ./telemetry
@endif
