"""Public data sets with what this library must know to read them: one file each.

base                        `Source`, and `get_source` by name
agibot_world                AgibotWorld-Beta
droid                       DROID, as RLDS and as LeRobot copies
interna1                    InternData-A1: Aloha, Genie1, Lift2
robocasa                    RoboCasa MimicGen
robotwin                    RoboTwin 2.0
"""
