*** Settings ***
Documentation       C3: success rates that hold for shares of the meters. One meter on a bench only supports them; a fleet decides.
...                 It takes about 17,000 meters in 30 days to tell a healthy fleet from one at its limits, and more to be sure.
Library             ../../keywords/prepayment_meter.py
Library             ../../keywords/prepayment_fleet.py    meters=${131072}    days=${30}
Test Setup          The Site Is Provisioned


*** Test Cases ***
Prepayment Messages Succeed At The Stated Rates
    [Tags]    C3-NFR-12
    Prepayment Messages Reach The Meters
    Messages On The Bench Support It    2

Limit Restore Connect And Disconnect Succeed At The Stated Rates
    [Tags]    C3-NFR-13
    Commands Are Carried Out
    Commands On The Bench Support It    2    ${5000}
